-- docs.lua - the reference manual and its checks, from one annotated source: docs/api/*.lua.
--
--   lua5.4 tools/docs.lua            write docs/manual/*.md
--   lua5.4 tools/docs.lua --check    write nothing; exit 1 when a page is stale, a link or an example of the docs is broken
--   lua5.4 tools/docs.lua --names    list what is annotated, for tests/lua/registered.lua, which compares it with the VM
--
-- Runs in the root of the tree. A source file is what LuaLS reads, with five rules of our own, so that pages can be made of it:
-- the second line is `-- TITLE: summary`; text about a field stands in the lines above its @field; the text about a parameter or
-- result follows ` # `; a line that begins with `Fails:` names errors of the closed list in src/base/err.h; `@class A : B` has the
-- functions of B, which is on the same page, too.
local API, MANUAL, ERRORS, HANDLERS = "docs/api", "docs/manual", "src/base/err.h", "src/script/handlers.c"
local WIDTH = 130 -- of lines in pages

-- Pages in the order of the index. Every file of docs/api is listed here.
local ORDER = {
  "app", "shape", "conn", "req", "room", "user", "remote",
  "tide", "task", "queue", "limit", "timer", "json", "crypto", "hasher", "password", "jwt", "store",
  "sql", "http", "res", "files", "file", "log", "env", "state",
}

local function fail(...)
  io.stderr:write("docs: ", string.format(...), "\n")
  os.exit(1)
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text = file:read "a"
  file:close()
  return text
end

local function need(path)
  local text, why = read(path)
  return text or fail("cannot read %s", why)
end

local function list_files(command)
  local out = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do out[#out + 1] = line end
  pipe:close()
  table.sort(out)
  return out
end

-- ---- reading the sources ----

local function new_block() return { text = {}, fields = {}, params = {}, returns = {} } end

local function split_note(rest)
  local before, note = rest:match "^(.-) # (.*)$"
  return before or rest, note
end

-- Text above a field belongs to the field, text above a class to the class.
local function take_text(block)
  local text = block.text
  block.text = {}
  while text[#text] == "" do text[#text] = nil end
  return text
end

local tags = {}

function tags.class(block, rest)
  block.class, block.parent = rest:match "^([%w_.]+)$", nil
  if not block.class then block.class, block.parent = rest:match "^([%w_.]+) : ([%w_.]+)$" end
  if not block.class then fail("unreadable @class %s", rest) end
  block.class_text = take_text(block)
end

function tags.field(block, rest)
  local name, optional, kind = rest:match "^([%w_]+)(%??) (.+)$"
  if not name then name, kind = rest:match "^(%b[]) (.+)$" end
  if not name then fail("unreadable @field %s", rest) end
  block.fields[#block.fields + 1] = { name = name, optional = optional == "?", kind = kind, text = take_text(block) }
end

function tags.param(block, rest)
  local before, note = split_note(rest)
  local name, optional, kind = before:match "^([%w_.]+)(%??) (.+)$"
  if not name or not note then fail("unreadable @param %s (NAME TYPE # text)", rest) end
  block.params[#block.params + 1] = { name = name, optional = optional == "?", kind = kind, note = note }
end

function tags.vararg() fail "write @param ... TYPE # text" end

tags["return"] = function(block, rest)
  local before, note = split_note(rest)
  local kind, name = before:match "^(.+) ([%w_.]+)$"
  if not kind then kind = before end
  block.returns[#block.returns + 1] = { kind = kind, name = name, note = note }
end

function tags.alias(block, rest)
  block.alias = rest:match "^([%w_.]+)" or fail("unreadable @alias %s", rest)
  block.class_text = take_text(block)
end

function tags.type() end
function tags.diagnostic() end

local function close_function(page, block, owner, separator, name, arguments)
  local class = page.by_local[owner] or fail("%s: function of the unknown table %s", page.file, owner)
  class.functions[#class.functions + 1] = {
    name = name, separator = separator, arguments = arguments, text = take_text(block), params = block.params, returns = block.returns,
  }
end

local function close_class(page, block, variable)
  local class = { name = block.class, parent = block.parent, alias = block.alias, variable = variable, text = block.class_text }
  class.fields, class.functions = block.fields, {}
  page.classes[#page.classes + 1] = class
  if variable then page.by_local[variable] = class end
end

local function close_block(page, block, code)
  local owner, separator, name, arguments = (code or ""):match "^function ([%w_]+)([.:])([%w_]+)%((.*)%) end$"
  local variable = (code or ""):match "^local ([%w_]+) = {}$"
  if owner then
    close_function(page, block, owner, separator, name, arguments)
  elseif block.class or block.alias then
    close_class(page, block, variable)
  elseif code and not code:match "^return " then
    fail("%s: unreadable line: %s", page.file, code)
  end
end

local function parse(file, name)
  local page = { file = file, name = name, classes = {}, by_local = {} }
  local block, number = new_block(), 0
  for line in (need(file) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local tag, rest = line:match "^%-%-%-@(%a+) ?(.*)$"
    if number == 1 then
      if tag ~= "meta" then fail("%s: the first line is ---@meta", file) end
    elseif number == 2 then
      page.title, page.summary = line:match "^%-%- ([^:]+): (.+)$"
      if not page.title then fail("%s: the second line is -- TITLE: summary", file) end
    elseif tag then
      (tags[tag] or fail("%s:%d: unknown tag @%s", file, number, tag))(block, rest)
    elseif line:match "^%-%-%-" then
      block.text[#block.text + 1] = line:sub(line:match "^%-%-%- |" and 5 or 4) -- `---|` would be a choice of LuaLS
    elseif line ~= "" then
      close_block(page, block, line)
      block = new_block()
    elseif block.class or block.alias then
      close_block(page, block, nil)
      block = new_block()
    elseif #block.text > 0 then
      fail("%s:%d: text that belongs to nothing", file, number)
    end
  end
  return page
end

local function load_pages()
  local pages, known = {}, {}
  for _, name in ipairs(ORDER) do
    known[API .. "/" .. name .. ".lua"] = true
    pages[#pages + 1] = parse(API .. "/" .. name .. ".lua", name)
  end
  for _, file in ipairs(list_files("ls " .. API .. "/*.lua")) do
    if not known[file] then fail("%s is not in the list ORDER of tools/docs.lua", file) end
  end
  for _, page in ipairs(pages) do
    for _, class in ipairs(page.classes) do pages[class.name or class.alias] = page end
  end
  return pages
end

-- ---- the closed list of error names ----

local function read_errors()
  local out = {}
  for name, text in need(ERRORS):gmatch 'X%(MT_%u[%u_]*, %-%d+, "([%w_]+)", "([^"]+)"%)' do
    out[#out + 1] = { name = name, text = text }
    out[name] = true
  end
  if #out < 10 then fail("no errors found in %s", ERRORS) end
  return out
end

local function check_failures(pages, errors)
  for _, page in ipairs(pages) do
    for line in need(page.file):gmatch "%-%-%-Fails:([^\n]*)" do
      for name in line:gsub("%b()", ""):gmatch "`([%w_]+)`" do -- what stands in parentheses explains
        if not errors[name] then fail("%s: Fails: `%s` is not in %s", page.file, name, ERRORS) end
      end
    end
  end
end

-- ---- writing pages ----

local function link_type(pages, page, kind)
  local plain = true
  local out = kind:gsub("moontide[%w_.]*", function(name)
    local target = pages[name] or fail("%s: unknown type %s", page.file, name)
    local short = name:match "[%w_]+$"
    plain = false
    return target == page and "`" .. short .. "`" or string.format("[`%s`](%s.md)", short, target.name)
  end)
  if plain then return "`" .. kind:gsub("|", " | ") .. "`" end
  -- what stands between the links is code as well
  return (out:gsub("|", " or "))
end

local LABELS = { Fails = true, Raises = true, Waits = true }

local function add_lines(out, lines)
  for _, line in ipairs(lines) do
    local word, rest = line:match "^(%u%l+):(.*)$"
    if LABELS[word] then
      line = "**" .. word .. ":**" .. rest
      if out[#out] ~= "" then out[#out + 1] = "" end -- a paragraph of its own
    end
    out[#out + 1] = line
  end
  if #lines > 0 then out[#out + 1] = "" end
end

-- One item of a list, wrapped.
local function add_item(out, text)
  local line = "-"
  for word in text:gmatch "%S+" do
    if #line + 1 + #word > WIDTH then
      out[#out + 1] = line
      line = " "
    end
    line = line .. " " .. word
  end
  out[#out + 1] = line
end

local function is_failure(returns)
  local n = #returns
  return n >= 3 and returns[n].name == "name" and returns[n - 1].name == "message"
end

local function result_text(returns)
  local names, count = {}, #returns - (is_failure(returns) and 2 or 0)
  for i = 1, count do names[i] = returns[i].name or returns[i].kind end
  if #names == 0 then return "" end
  return " -> " .. table.concat(names, ", ") .. (is_failure(returns) and " | nil, message, name" or "")
end

local function add_arguments(out, pages, page, f)
  local any = false
  for _, p in ipairs(f.params) do
    add_item(out, string.format("`%s` (%s%s): %s", p.name, link_type(pages, page, p.kind), p.optional and ", optional" or "", p.note))
    any = true
  end
  for _, r in ipairs(f.returns) do
    if r.note then
      add_item(out, string.format("returns %s(%s): %s", r.name and "`" .. r.name .. "` " or "", link_type(pages, page, r.kind), r.note))
      any = true
    end
  end
  if any then out[#out + 1] = "" end
end

local function add_fields(out, pages, page, prefix, class)
  if #class.fields == 0 then return end
  local functions = class.fields[1].kind:match "^fun%("
  if functions or class.name:match "app$" then -- handlers have long texts: a heading each
    for _, f in ipairs(class.fields) do
      local arguments, results = f.kind:match "^fun(%b())(.*)$"
      local names = arguments and arguments:gsub(":[^,)]+", "") or ""
      out[#out + 1] = string.format("## %s%s%s", prefix ~= "" and prefix .. "." or "", f.name, names)
      out[#out + 1] = ""
      results = (results or ""):gsub("^: %(?", ""):gsub("%)$", "")
      if results ~= "" then add_lines(out, { "Returns " .. link_type(pages, page, results) .. "." }) end
      if not arguments then add_lines(out, { link_type(pages, page, f.kind) }) end
      add_lines(out, f.text)
    end
    return
  end
  for _, f in ipairs(class.fields) do
    local kind = link_type(pages, page, f.kind)
    add_item(out, string.format("`%s` (%s%s): %s", f.name, kind, f.optional and ", optional" or "", table.concat(f.text, " ")))
  end
  out[#out + 1] = ""
end

local function add_functions(out, pages, page, prefix, class)
  for _, f in ipairs(class.functions) do
    out[#out + 1] = string.format("## %s%s%s(%s)%s", prefix, f.separator, f.name, f.arguments, result_text(f.returns))
    out[#out + 1] = ""
    add_lines(out, f.text)
    add_arguments(out, pages, page, f)
  end
end

local function render(pages, page)
  local out = { "<!-- Written by tools/docs.lua from " .. page.file .. ": edit that file. -->", "# " .. page.title, "" }
  for i, class in ipairs(page.classes) do
    local prefix = i == 1 and page.title or class.variable or class.name and class.name:match "[%w_]+$" or ""
    if i > 1 then
      out[#out + 1] = "## " .. (class.name or class.alias):match "[%w_]+$"
      out[#out + 1] = ""
    end
    add_lines(out, class.text)
    add_fields(out, pages, page, prefix, class)
    add_functions(out, pages, page, prefix, class)
  end
  return (table.concat(out, "\n"):gsub("\n+$", "") .. "\n")
end

local function render_index(pages, errors)
  local contents, names = {}, {}
  for _, page in ipairs(pages) do
    contents[#contents + 1] = string.format("| [%s](%s.md) | %s |", page.title, page.name, page.summary)
  end
  for _, e in ipairs(errors) do names[#names + 1] = string.format("| `%s` | %s |", e.name, e.text) end
  local parts = { pages = table.concat(contents, "\n"), errors = table.concat(names, "\n") }
  local text = need(API .. "/index.md"):gsub("<!%-%- (%l+) %-%->", function(name)
    return parts[name] or fail("%s/index.md: unknown part %s", API, name)
  end)
  return "<!-- Written by tools/docs.lua from " .. API .. "/index.md and the files beside it: edit those. -->\n" .. text
end

local function render_all(pages, errors)
  local files = { [MANUAL .. "/README.md"] = render_index(pages, errors) }
  for _, page in ipairs(pages) do files[MANUAL .. "/" .. page.name .. ".md"] = render(pages, page) end
  return files
end

local function write_all(files)
  os.execute("mkdir -p " .. MANUAL)
  for path, text in pairs(files) do
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
  end
end

-- ---- checks ----

local function first_difference(old, new)
  local number, next_old = 0, (old .. "\n"):gmatch "(.-)\n"
  for line in (new .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local have = next_old()
    if have ~= line then return string.format("line %d is\n    %s\n  and should be\n    %s", number, have or "missing", line) end
  end
  return string.format("it goes on after line %d", number)
end

local function check_pages(files, report)
  for path, text in pairs(files) do
    local old = read(path)
    if not old then
      report("%s is missing: run lua5.4 tools/docs.lua", path)
    elseif old ~= text then
      report("%s is stale: %s\n  run lua5.4 tools/docs.lua", path, first_difference(old, text))
    end
  end
  for _, path in ipairs(list_files("ls " .. MANUAL .. "/*.md")) do
    if not files[path] then report("%s has no source", path) end
  end
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local function check_links(path, text, report)
  local folder = path:match "^(.*)/[^/]*$" or "."
  for target in text:gsub("```.-```", ""):gmatch "%]%(([^)%s]+)%)" do
    local file = target:match "^[^#]+"
    if file and not file:match "^%a+:" and not exists(folder .. "/" .. file) then
      report("%s: the link to %s leads nowhere", path, target)
    end
  end
end

-- Examples must at least compile; whole scripts are run by tests/docs/examples.py.
local function check_examples(path, text, report)
  for code in text:gmatch "\n```lua\n(.-)\n```" do
    local ok, why = load(code, "=example")
    if not ok then ok = load("return " .. code, "=example") end
    if not ok then report("%s: an example does not compile: %s", path, why) end
  end
end

local function check_markdown(report)
  local paths = list_files "ls README.md docs/*.md docs/internals/*.md docs/manual/*.md 2>/dev/null"
  for _, path in ipairs(paths) do
    local text = need(path)
    check_links(path, text, report)
    check_examples(path, text, report)
  end
end

-- ---- annotations against the program ----

-- What the VM registers, by the name that a script would write: "tide.now", "conn:send", "conn.id". Shapes of options and results are
-- known by having no local table; the handler table is read, not registered.
local function names_of(pages)
  local out = {}
  local function add_functions_of(class, prefix)
    for _, f in ipairs(class.functions) do out[#out + 1] = prefix .. f.separator .. f.name end
  end
  for _, page in ipairs(pages) do
    for i, class in ipairs(page.classes) do
      if class.variable and page.name ~= "app" then
        local prefix = i == 1 and page.title or class.variable
        for _, f in ipairs(class.fields) do out[#out + 1] = prefix .. "." .. f.name end
        add_functions_of(class, prefix)
        for _, other in ipairs(page.classes) do
          if other.name == class.parent then add_functions_of(other, prefix) end
        end
      end
    end
  end
  table.sort(out)
  return out
end

-- The keys of the handler table are in tables of handlers.c.
local function check_handlers(pages, report)
  local text = need(HANDLERS)
  for class_name, tables in pairs { ["moontide.app"] = { "level_keys", "app_keys" }, ["moontide.app.room"] = { "room_keys" },
                                    ["moontide.app.limits"] = { "limit_keys" } } do
    local there, said = {}, {}
    for _, variable in ipairs(tables) do
      local body = text:match("struct key " .. variable .. "%[%] = {(.-)\n};") or fail("%s: no %s", HANDLERS, variable)
      for name in body:gmatch '{"([%w_]+)"' do there[name] = true end
    end
    for _, class in ipairs(pages[class_name].classes) do
      for _, f in ipairs(class.name == class_name and class.fields or {}) do said[f.name] = true end
    end
    for name in pairs(there) do
      if not said[name] then report("%s/app.lua: %s has no %s, which %s has", API, class_name, name, HANDLERS) end
    end
    for name in pairs(said) do
      if not there[name] then report("%s/app.lua: %s has %s, which %s has not", API, class_name, name, HANDLERS) end
    end
  end
end

local function check(pages, files)
  local bad = 0
  local function report(...)
    bad = bad + 1
    io.stderr:write("docs: ", string.format(...), "\n")
  end
  check_pages(files, report)
  check_markdown(report)
  check_handlers(pages, report)
  os.exit(bad == 0 and 0 or 1)
end

local pages, errors = load_pages(), read_errors()
check_failures(pages, errors)
if arg[1] == "--names" then
  print(table.concat(names_of(pages), "\n"))
elseif arg[1] == "--check" then
  check(pages, render_all(pages, errors))
elseif arg[1] then
  fail("unknown argument %s", arg[1])
else
  write_all(render_all(pages, errors))
end
