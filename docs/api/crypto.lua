---@meta
-- tide.crypto
--
-- By OpenSSL. Digests are `md5 sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-512 blake2s256 blake2b512`; an unknown name raises with the nearest.
-- `as` is the encoding of a result or text: `raw`, `hex`, `base64` (with padding) or `base64url` (without).

---@alias tide.Encoding "raw"|"hex"|"base64"|"base64url"

tide.crypto = {}

---@param name string
---@param data string
---@param as? tide.Encoding (hex)
---@return string digest
function tide.crypto.digest(name, data, as) end

---@param name string of the digest
---@param key string
---@param data string
---@param as? tide.Encoding (hex)
---@return string mac
function tide.crypto.hmac(name, key, data, as) end

---A digest in pieces.
---@param name? string (sha256)
---@return tide.Hasher hasher
function tide.crypto.hasher(name) end

---Random bytes that nobody can guess.
---@param n integer 1 to 1048576 bytes
---@param as? tide.Encoding (raw)
---@return string bytes
function tide.crypto.random(n, as) end

---@return string uuid a random one (version 4): `0b7e151c-9f3a-4c1d-8e57-5d2a3c4b6f70`
function tide.crypto.uuid() end

---Compare secrets: takes the same time wherever they differ. nil is never equal, not even to nil.
---@param a string?
---@param b string?
---@return boolean equal
function tide.crypto.equal(a, b) end

---@param bytes string
---@param as tide.Encoding
---@return string text
function tide.crypto.encode(bytes, as) end

---@param text string? nil is a failure, not a mistake
---@param as tide.Encoding
---@return string? bytes nil after `"malformed"` or `"missing"`
---@return string? message
---@return string? name
function tide.crypto.decode(text, as) end

---@class tide.Hasher
local hasher = {}

---@param bytes string
---@return tide.Hasher hasher the same
function hasher:update(bytes) end

---The digest so far; more may follow.
---@param as? tide.Encoding (hex)
---@return string digest
function hasher:digest(as) end
