"""Certificates for tests, made with the openssl program when they are needed. Nothing secret is kept in the tree."""
import ssl
import subprocess


def _openssl(*args, data=None):
    subprocess.run(["openssl", *map(str, args)], input=data, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """A root and an intermediate; `issue` makes server certificates signed by the intermediate."""

    def __init__(self, folder):
        self.folder = folder
        self.root = self._make("root", "Test root", None, "CA:TRUE")
        self.middle = self._make("middle", "Test intermediate", self.root, "CA:TRUE,pathlen:0")

    def _make(self, name, subject, issuer, constraint, names=(), kind="ec", passphrase=None, days=30):
        key, cert, request = (self.folder / f"{name}.{ending}" for ending in ("key", "pem", "csr"))
        kinds = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}
        secret = ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
        _openssl("req", "-new", *kinds[kind], *secret, "-keyout", key, "-out", request, "-subj", f"/CN={subject}")
        extensions = self.folder / f"{name}.ext"
        alt = "subjectAltName=" + ",".join(names) + "\n" if names else ""
        extensions.write_text(f"basicConstraints=critical,{constraint}\n{alt}")
        signer = ["-CA", issuer[0], "-CAkey", issuer[1], "-CAcreateserial"] if issuer else ["-signkey", key]
        _openssl("x509", "-req", "-in", request, *signer, "-days", days, "-extfile", extensions, "-out", cert)
        return cert, key

    def issue(self, name, *hosts, kind="ec", passphrase=None, days=30):
        """(chain file, key file) for these host names. With -1 days it has expired."""
        names = [("IP:" if h[0].isdigit() or ":" in h else "DNS:") + h for h in hosts]
        cert, key = self._make(name, hosts[0], self.middle, "CA:FALSE", names, kind, passphrase, days)
        chain = self.folder / f"{name}.chain.pem"
        chain.write_text(cert.read_text() + self.middle[0].read_text())
        return chain, key

    def client(self, lowest=None, highest=None):
        """A client context that trusts the root only, so that a chain without the intermediate fails."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(self.root[0]))
        if lowest:
            context.minimum_version = lowest
        if highest:
            context.maximum_version = highest
        return context
