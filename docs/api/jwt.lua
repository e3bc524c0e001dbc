---@meta _
-- tide.jwt: JSON Web Tokens, made and checked.

---Signed tokens by RFC 7519 and RFC 7515: HS256, HS384, HS512, RS256 to RS512, PS256 to PS512, ES256 (P-256), ES384 (P-384), ES512
---(P-521) and EdDSA (Ed25519). There is no `none`, and no encryption. [Tokens](../tokens.md) is the guide.
---
---    local claims, message = tide.jwt.verify(req:token(), { key = KEY })
---    if not claims then tide.reject(401, message) end
---    return { user = claims.sub, expires = claims.exp }
---
---**Keys** are given as
---
---- a text that is a secret, for HS256 and its like. RFC 7518 wants 32 bytes; shorter ones work, and the log tells of them once. HS384
---  and HS512 are taken by default where the secret has 48 and 64 bytes
---- a PEM text: a public or private key, or a certificate, of which only the key counts. RSA keys have 2048 to 8192 bits. Such a
---  text is never a secret, so a token that was "signed" with the text of a public key fails
---- a JWK (RFC 7517), as a table or as JSON. What it says of itself holds: `alg`, `use`, `key_ops`
---- for `jwks` a set of JWKs, as a table or as JSON, the name of a file that holds one (`keys.json`, `file:/etc/keys.json`), or an
---  `https` address (`http` for this machine only). The key is chosen by the `kid` of the token
---
---Keys are read once and remembered, the last 64 of them.
---@class moontide.jwt
local jwt = {}

---@class moontide.jwt_verify
---a secret, a PEM text or a JWK. Either this or `jwks` is needed
---@field key? string|table
---a set of keys, or where it is
---@field jwks? string|table
---those that are allowed, by default all that the key is for
---@field algorithms? string|string[]
---whom `iss` must name
---@field issuer? string|string[]
---for whom: one of these must be in `aud`. Without it tokens that have an `aud` are refused
---@field audience? string|string[]
---seconds, up to 3600, by which clocks may differ; 0 by default
---@field leeway? number
---claims that must be there: a token without `exp` is good for ever
---@field require? string|string[]

---The claims of a token with a right signature that is valid now. Nothing of a token is believed before its signature is checked, and
---keys that it brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
---
---`exp` and `nbf` hold with the leeway, and `iat` may be a minute ahead. Where `exp nbf iat` are no numbers or `iss sub jti` no strings
---the token is refused. A null claim is absent.
---
---It runs at once (30 microseconds for RSA, 100 for ECDSA), but for keys from a file or an address that are not there yet, or when
---the `kid` is none of them: then it waits for the one fetch that all share.
---
---The sentence may go to the client. A wrong option or a key that cannot be read raises.
---
---Waits: for keys from a file or an address, 10 s at most.
---Fails: `missing` (the token is nil), `malformed` (it is no signed token), `too_large` (more than 16 KiB), `invalid` (the signature is
---wrong, a claim is not of its kind or missing), `expired`, `denied` (the algorithm, the issuer, the audience, or not valid yet),
---`not_found` (no key of that `kid`, or no file), and where keys cannot be fetched what `tide.http` has: `timeout`, `refused`, `tls`,
---`dns`, `malformed`, ...
---@param token string? # as it came; what is no string is malformed
---@param opts moontide.jwt_verify # the key, and what must hold
---@return table? claims # a table of its own
---@return string? message
---@return string? name
function jwt.verify(token, opts) end

---@class moontide.jwt_sign
---a secret, a private key as PEM, or a JWK with its private half, whose `kid` goes into the token
---@field key string|table
---by default HS256, RS256, ES256, ES384, ES512 or EdDSA, as the key is, or what the JWK names
---@field algorithm? string
---seconds from now, which become `exp`
---@field expires_in? number

---A token. `iat` is now unless the claims have one. An RSA key takes a millisecond or more of the worker's time for each, so prefer
---ES256 or EdDSA where many are made.
---
---What cannot be signed raises: claims that are not JSON, `exp nbf iat` that are no numbers, `iss sub jti` that are no strings, a key
---that does not sign, more than 16 KiB.
---@param claims table # is not changed
---@param opts moontide.jwt_sign # the key, and how
---@return string token
function jwt.sign(claims, opts) end
