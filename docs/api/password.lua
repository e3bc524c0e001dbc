---@meta _
-- tide.password: passwords are kept as hashes.

---By scrypt (RFC 7914) with N = 2^15, r = 8, p = 1 and a random salt. Each call takes about a tenth of a second of a processor and
---32 MiB, on threads of their own: half of the processors, four at most, one on small machines. 256 more may wait for all workers
---together. So a storm of logins delays logins and nothing else.
---
---    local row = db:row("select hash from users where name = ?", name)
---    if not tide.password.verify(msg.password, row and row.hash) then return nil, "wrong name or password", "denied" end
---@class moontide.password
local password = {}

---The text holds all that `verify` needs: `$scrypt$ln=15,r=8,p=1$SALT$HASH`, the PHC string format. The same password has another
---hash each time. Bytes are taken as they are.
---
---Waits: for the hash.
---Fails: `too_large` (more than 1024 bytes), `busy` (too many wait).
---@param text string # the password
---@return string? hash # 88 bytes, to be kept
---@return string? message
---@return string? name
function password.hash(text) end

---Compared in a time that does not tell where they differ. Without a hash it takes as long as with one, so that nobody learns which
---names exist. Hashes of other costs are taken too, up to 128 MiB and sixteen times the usual work.
---
---Whatever fails is no true: a login is refused.
---
---Waits: for the hash.
---Fails: `malformed` (the second is no hash of this kind), `too_large` (it would cost too much), `busy` (too many wait).
---@param text string? # what the client sent; false when it is nil
---@param hash string? # what was kept; false when it is nil
---@return boolean? same
---@return string? message
---@return string? name
function password.verify(text, hash) end
