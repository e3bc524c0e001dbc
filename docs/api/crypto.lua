---@meta _
-- tide.crypto: digests, random bytes, comparing secrets, encodings.

---By OpenSSL. Encodings are "raw", "hex", "base64" (RFC 4648 section 4) and "base64url" (section 5, without padding). Digests are
---md5, sha1, sha224, sha256, sha384, sha512, sha3-256, sha3-512, blake2s256 and blake2b512; an unknown name raises with the
---nearest.
---@class moontide.crypto
local crypto = {}

---@param name string # of the digest
---@param data string # any bytes
---@param as? moontide.encoding # "hex" by default
---@return string digest
function crypto.digest(name, data, as) end

---HMAC, RFC 2104.
---@param name string # of the digest
---@param key string # any bytes
---@param data string # any bytes
---@param as? moontide.encoding # "hex" by default
---@return string mac
function crypto.hmac(name, key, data, as) end

---For data that comes in pieces. See [hasher](hasher.md).
---@param name? string # of the digest, "sha256" by default
---@return moontide.hasher hasher
function crypto.hasher(name) end

---Random bytes that are fit for keys and tokens.
---@param n integer # bytes, 1 to 1048576
---@param as? moontide.encoding # "raw" by default
---@return string bytes
function crypto.random(n, as) end

---@return string uuid # a random UUID, RFC 9562 version 4
function crypto.uuid() end

---Compare two secrets in a time that does not tell where they differ. nil is never equal, not even to nil.
---@param a string? # for instance what the client sent
---@param b string? # for instance what it should be
---@return boolean equal
function crypto.equal(a, b) end

---@param bytes string # any bytes
---@param as moontide.encoding # how to write them
---@return string text
function crypto.encode(bytes, as) end

---Fails: `malformed`; `missing` for nil.
---@param text string? # nil is no mistake
---@param as moontide.encoding # how it is written
---@return string? bytes
---@return string? message
---@return string? name
function crypto.decode(text, as) end

---How bytes are written as text.
---@alias moontide.encoding "raw"|"hex"|"base64"|"base64url"
