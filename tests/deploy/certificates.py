"""Certificates for the tests, by openssl."""

import subprocess


def self_signed(folder, name):
    """A certificate of its own authority for a name, as the files of a Secret; they are in the folder too."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(folder / "tls.key"),
                    "-out", str(folder / "tls.crt")], check=True, capture_output=True)
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())
    return {key: (folder / key).read_bytes() for key in ("tls.crt", "tls.key", "ca.crt")}
