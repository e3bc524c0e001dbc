-- docs.lua - the reference manual from the annotations: docs/api/*.lua -> docs/manual/*.md
--
--     lua5.4 tools/docs.lua            write the pages
--     lua5.4 tools/docs.lua --check    say which pages differ; exit code 1 when one does
--     lua5.4 tools/docs.lua --names    list every documented function and field, for the test that compares them with the program
--
-- The annotations are those of the Lua language server, so the same files complete and check scripts in an editor. A file begins with `---@meta`
-- and a comment: the page's title and opening. Then come blocks of `---` lines, each with the statement that it documents.

local PAGES = { "app", "req", "conn", "user", "room", "shape", "tide", "task", "json", "store", "crypto", "log" } -- order of the contents

local folder = (arg[0]:match "^(.*)/tools/[^/]*$" or ".")

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

---------------------------------------------------------------- reading

-- A type ends at the first blank that is outside of brackets and not beside an operator: "fun(a: b): c", "{ x: y }", "a | b".
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find "[%(%[{<]" then depth = depth + 1 end
    if c:find "[%)%]}>]" then depth = depth - 1 end
    if c == " " and depth == 0 and not text:sub(1, i - 1):find "[:|,]$" and not text:sub(i + 1):find "^[|]" then
      return text:sub(1, i - 1), text:sub(i + 1)
    end
    i = i + 1
  end
  return text, ""
end

local tags = {}

function tags.class(block, rest) block.class = rest:match "^([%w_.]+)" end
function tags.alias(block, rest) block.alias, block.type = rest:match "^(%S+)%s+(.*)$" end
function tags.type(block, rest) block.type = rest end
function tags.generic() end

function tags.field(block, rest)
  local name, optional, after = rest:match "^([%w_]+)(%??)%s+(.*)$"
  local kind, text = split_type(after)
  block.fields[#block.fields + 1] = { name = name, optional = optional ~= "", type = kind, text = text }
end

function tags.param(block, rest)
  local name, optional, after = rest:match "^([%w_.]+)(%??)%s+(.*)$"
  local kind, text = split_type(after)
  block.params[#block.params + 1] = { name = name, optional = optional ~= "", type = kind, text = text }
end

tags["return"] = function(block, rest)
  local kind, after = split_type(rest)
  local name, text = after:match "^(%S*)%s*(.*)$"
  block.returns[#block.returns + 1] = { type = kind, name = name, text = text }
end

local function new_block() return { text = {}, fields = {}, params = {}, returns = {} } end

-- `local conn = {}`, `tide.json = {}`, `function conn:send(a, b) end`
local function read_statement(block, line)
  local name, args = line:match "^function%s+([%w_.:]+)(%b())"
  if name then
    block.call, block.args = name, args
    return
  end
  block.table = line:match "^local%s+([%w_]+)%s*=" or line:match "^([%w_.]+)%s*="
end

local function read_page(name)
  local path = folder .. "/docs/api/" .. name .. ".lua"
  local text = assert(read(path), path .. ": not there")
  local page = { name = name, opening = {}, blocks = {} }
  local block, number = nil, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local comment = line:match "^%-%-%-(.*)$"
    local tag, rest = line:match "^%-%-%-@([%w_]+)%s*(.*)$"
    if tag == "meta" then -- the mark of an annotation file
    elseif tag then
      block = block or new_block()
      assert(tags[tag], ("%s:%d: unknown tag @%s"):format(path, number, tag))(block, rest)
    elseif comment then
      block = block or new_block()
      block.text[#block.text + 1] = comment
    elseif line:find "^%-%-" then
      page.opening[#page.opening + 1] = line:match "^%-%- ?(.*)$"
    else
      if line ~= "" then
        block = block or new_block()
        read_statement(block, line)
      end
      if block then page.blocks[#page.blocks + 1] = block end
      block = nil
    end
  end
  page.title = assert(table.remove(page.opening, 1), path .. ": no title")
  return page
end

---------------------------------------------------------------- writing

local function cell(text) return (text:gsub("|", "\\|")) end

local function code(text) return "`" .. text .. "`" end

-- The pages' tables, where a | would end the cell even inside of code.
local function code_cell(text) return code(cell(text)) end

local function add_rows(out, head, rows)
  if #rows == 0 then return end
  out[#out + 1] = "| " .. head .. " | type | |"
  out[#out + 1] = "|---|---|---|"
  for _, row in ipairs(rows) do
    local kind = row.type .. (row.optional and "?" or "")
    out[#out + 1] = ("| %s | %s | %s |"):format(code(row.name), code_cell(kind), cell(row.text))
  end
  out[#out + 1] = ""
end

local function add_text(out, lines)
  if #lines == 0 then return end
  out[#out + 1] = table.concat(lines, "\n")
  out[#out + 1] = ""
end

-- Failures are the same three values everywhere: said once.
local function is_failure(returns)
  local n = #returns
  return n >= 3 and returns[n].name == "name" and returns[n - 1].name == "message"
end

local function add_returns(out, returns)
  local fails, last = is_failure(returns), #returns
  if fails then last = last - 2 end
  for i = 1, last do
    local r = returns[i]
    local kind = fails and r.type:gsub("|nil$", ""):gsub("%?$", "") or r.type
    out[#out + 1] = ("Returns %s %s%s%s  "):format(code(kind), r.name == "..." and "" or r.name, r.text ~= "" and ": " or "", r.text):gsub(" +:", ":")
  end
  if fails then out[#out + 1] = "or `nil, message, name`  " end
  if #returns > 0 then out[#out + 1] = "" end
end

local function add_call(out, block)
  out[#out + 1] = "### " .. code(block.call .. block.args)
  out[#out + 1] = ""
  add_text(out, block.text)
  add_rows(out, "argument", block.params)
  add_returns(out, block.returns)
end

local function add_block(out, block)
  if block.call then return add_call(out, block) end
  if block.class then
    out[#out + 1] = "## " .. (block.table and code(block.table) .. ": " or "") .. code(block.class)
  elseif block.alias then
    out[#out + 1] = "## " .. code(block.alias)
  elseif block.table and #block.text > 0 then
    out[#out + 1] = "## " .. code(block.table)
  else
    return
  end
  out[#out + 1] = ""
  add_text(out, block.text)
  if block.alias then add_text(out, { code(block.type) }) end
  add_rows(out, "field", block.fields)
end

local NOTE = "<!-- Made by tools/docs.lua from docs/api/%s.lua. Change that file. -->"

local function write_page(page)
  local out = { NOTE:format(page.name), "# " .. page.title, "" }
  if page.opening[1] == "" then table.remove(page.opening, 1) end
  add_text(out, page.opening)
  for _, block in ipairs(page.blocks) do add_block(out, block) end
  return (table.concat(out, "\n"):gsub("\n+$", "") .. "\n")
end

local function write_contents(pages)
  local out = { "<!-- Made by tools/docs.lua. -->", "# The script API", "" }
  for _, page in ipairs(pages) do
    local calls = {}
    for _, block in ipairs(page.blocks) do
      if block.call then calls[#calls + 1] = code(block.call) end
    end
    out[#out + 1] = ("- [%s](%s.md)%s"):format(page.title, page.name, #calls > 0 and ": " .. table.concat(calls, " ") or "")
  end
  return table.concat(out, "\n") .. "\n"
end

---------------------------------------------------------------- commands

local function names_of(pages)
  local list = {}
  for _, page in ipairs(pages) do
    for _, block in ipairs(page.blocks) do
      if block.call then list[#list + 1] = block.call end
      if block.table and block.table:find "%." then list[#list + 1] = block.table end
      if block.class and block.table then
        for _, field in ipairs(block.fields) do list[#list + 1] = block.table .. "." .. field.name end
      end
    end
  end
  table.sort(list)
  return list
end

local function update(name, text, check)
  local path = folder .. "/docs/manual/" .. name .. ".md"
  if read(path) == text then return true end
  if check then
    io.stderr:write(path, ": not up to date, run lua5.4 tools/docs.lua\n")
    return false
  end
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return true
end

local pages, good = {}, true
for i, name in ipairs(PAGES) do pages[i] = read_page(name) end
if arg[1] == "--names" then
  print(table.concat(names_of(pages), "\n"))
else
  local check = arg[1] == "--check"
  for _, page in ipairs(pages) do good = update(page.name, write_page(page), check) and good end
  good = update("README", write_contents(pages), check) and good
end
os.exit(good and 0 or 1)
