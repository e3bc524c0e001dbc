"""JSON Web Tokens and keys by Python's cryptography, a second implementation beside the program's."""
import base64
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALGORITHMS = [kind + size for kind in ("HS", "RS", "PS", "ES") for size in HASHES] + ["EdDSA"]


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """A key for one algorithm. `private` and `public` are PEM texts, of HS* both are the secret."""

    def __init__(self, alg, kid=None):
        self.alg, self.kid = alg, kid
        if alg.startswith("HS"):
            self.private = self.public = ("secret of " + alg) * 8
            return
        if alg in CURVES:
            self.key = ec.generate_private_key(CURVES[alg]())
        elif alg == "EdDSA":
            self.key = ed25519.Ed25519PrivateKey.generate()
        else:
            self.key = rsa.generate_private_key(65537, 2048)
        self.private = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()).decode()
        self.public = self.key.public_key().public_bytes(serialization.Encoding.PEM,
                                                         serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def size(self):
        return (self.key.key_size + 7) // 8

    def jwk(self, **more):
        """Of its public half."""
        named = {**({"kid": self.kid} if self.kid else {}), "use": "sig", "alg": self.alg, **more}
        if self.alg in CURVES:
            at = self.key.public_key().public_numbers()
            return {"kty": "EC", "crv": f"P-{self.key.key_size}", "x": number(at.x, self.size), "y": number(at.y, self.size), **named}
        if self.alg == "EdDSA":
            raw = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **named}
        if self.alg.startswith("HS"):
            return {"kty": "oct", "k": b64(self.private), **named}
        at = self.key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(at.n), "e": number(at.e), **named}

    def _hash(self):
        return HASHES[self.alg[2:]]()

    def _padding(self):
        if self.alg.startswith("RS"):
            return padding.PKCS1v15()
        return padding.PSS(padding.MGF1(self._hash()), self._hash().digest_size)

    def _sign(self, data):
        if self.alg.startswith("HS"):
            return hmac.new(self.private.encode(), data, getattr(hashlib, "sha" + self.alg[2:])).digest()
        if self.alg in CURVES:
            r, s = utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(self._hash())))
            return r.to_bytes(self.size, "big") + s.to_bytes(self.size, "big")
        if self.alg == "EdDSA":
            return self.key.sign(data)
        return self.key.sign(data, self._padding(), self._hash())

    def token(self, seconds=3600, header=None, **claims):
        """A token that is good for so many seconds; None: for ever."""
        head = {"alg": self.alg, "typ": "JWT", **({"kid": self.kid} if self.kid else {}), **(header or {})}
        body = {**({"exp": int(time.time()) + seconds} if seconds is not None else {}), **claims}
        text = b64(json.dumps(head)) + "." + b64(json.dumps(body))
        return text + "." + b64(self._sign(text.encode()))

    def claims(self, token):
        """Those of a token with the right signature; raises for others."""
        text, signature = token.rsplit(".", 1)
        raw, data = unb64(signature), text.encode()
        if self.alg.startswith("HS"):
            assert hmac.compare_digest(raw, self._sign(data))
        elif self.alg in CURVES:
            half = [int.from_bytes(part, "big") for part in (raw[:self.size], raw[self.size:])]
            self.key.public_key().verify(utils.encode_dss_signature(*half), data, ec.ECDSA(self._hash()))
        elif self.alg == "EdDSA":
            self.key.public_key().verify(raw, data)
        else:
            self.key.public_key().verify(raw, data, self._padding(), self._hash())
        return json.loads(unb64(text.split(".")[1]))


def key_set(*keys):
    return json.dumps({"keys": [k.jwk() for k in keys]})
