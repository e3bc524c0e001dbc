---@meta _
-- tide.env: variables of the environment.

---`tide.env.NAME` is the text of a variable, nil when it is not set. Read only. `assert(tide.env.API_KEY, "set API_KEY")` as a
---first line keeps a version without it from going live.
---@class moontide.env
---a variable of that name
---@field [string] string?
