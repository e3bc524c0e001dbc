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

    def _make(self, name, subject, issuer, constraint, names=(), kind="ec", passphrase=None, days=30, usage=None):
        key, cert, request = (self.folder / f"{name}.{ending}" for ending in ("key", "pem", "csr"))
        kinds = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}
        secret = ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
        _openssl("req", "-new", *kinds[kind], *secret, "-keyout", key, "-out", request, "-utf8",
                 "-subj", subject if subject.startswith("/") else f"/CN={subject}")
        extensions = self.folder / f"{name}.ext"
        alt = "subjectAltName=" + ",".join(names) + "\n" if names else ""
        purpose = f"extendedKeyUsage={usage}\n" if usage else ""
        extensions.write_text(f"basicConstraints=critical,{constraint}\n{alt}{purpose}")
        signer = ["-CA", issuer[0], "-CAkey", issuer[1], "-CAcreateserial"] if issuer else ["-signkey", key]
        _openssl("x509", "-req", "-in", request, *signer, "-days", days, "-extfile", extensions, "-out", cert)
        return cert, key

    def issue(self, name, *hosts, kind="ec", passphrase=None, days=30):
        """(chain file, key file) for these host names. With -1 days it has expired."""
        names = [("IP:" if h[0].isdigit() or ":" in h else "DNS:") + h for h in hosts]
        return self._chain(name, *self._make(name, hosts[0], self.middle, "CA:FALSE", names, kind, passphrase, days))

    def issue_client(self, name, subject=None, *names, usage="clientAuth", days=30):
        """(chain file, key file) of a client. subject: "/CN=a/O=b". names: alternative ones, "URI:spiffe://a/b"."""
        return self._chain(name, *self._make(name, subject or name, self.middle, "CA:FALSE", names, days=days, usage=usage))

    def issue_self_signed(self, name):
        """A client's certificate that nobody has signed but itself."""
        return self._make(name, name, None, "CA:FALSE", usage="clientAuth")

    def _chain(self, name, cert, key):
        chain = self.folder / f"{name}.chain.pem"
        chain.write_text(cert.read_text() + self.middle[0].read_text())
        return chain, key

    def revoke(self, name, *chains, until=None, without_root=False, middle=False):
        """The file of revoked certificates: of the root (the intermediate if `middle`) and of the intermediate (those of `chains`).
        until: when it went out of date, "20200102000000Z"."""
        out = self.folder / f"{name}.crl.pem"
        roots = [] if without_root else [self._revoke(f"{name}-root", self.root, self.middle[:1] if middle else (), until)]
        out.write_text("".join([*roots, self._revoke(f"{name}-middle", self.middle, chains, until)]))
        return out

    def _revoke(self, name, issuer, chains, until):
        folder = self.folder / f"{name}.ca"
        folder.mkdir()
        (folder / "index").write_text("")
        config = folder / "config"
        config.write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index\ndefault_md=sha256\n")
        ca = ["ca", "-config", config, "-cert", issuer[0], "-keyfile", issuer[1]]
        for chain in chains:
            _openssl(*ca, "-revoke", chain)
        when = ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", until] if until else ["-crldays", "30"]
        _openssl(*ca, "-gencrl", *when, "-out", folder / "crl.pem")
        return (folder / "crl.pem").read_text()

    def client(self, lowest=None, highest=None, show=None):
        """A client context that trusts the root only, so that a chain without the intermediate fails. show: the (chain file, key
        file) of a client's own certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(self.root[0]))
        if show:
            context.load_cert_chain(*map(str, show))
        if lowest:
            context.minimum_version = lowest
        if highest:
            context.maximum_version = highest
        return context
