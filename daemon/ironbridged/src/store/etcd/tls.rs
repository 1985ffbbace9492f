//! Certificates for an encrypted connection, from the files that the operator named or from the machine's own.

use std::path::Path;

use etcd_client::{Certificate, Identity, TlsOptions};

use super::options::TlsFiles;
use crate::store::StoreError;

/// Where distributions keep the certificates that the machine trusts: the list of Go's crypto/x509, which flannel uses
/// for an https endpoint without a CA file. No roots are compiled in, so the machine's administrator has the say.
const MACHINE_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads the files and makes the client's side of TLS (1.2 or newer) of them.
pub(super) fn load(files: &TlsFiles) -> Result<TlsOptions, StoreError> {
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(roots(files.ca.as_deref())?));
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        options = options.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(options)
}

fn roots(ca: Option<&Path>) -> Result<Vec<u8>, StoreError> {
    if let Some(ca) = ca {
        let pem = read(ca)?;
        if !pem.windows(PEM_MARK.len()).any(|w| w == PEM_MARK) {
            return Err(StoreError::Unreadable {
                path: ca.to_owned(),
                why: "holds no PEM certificate".to_owned(),
            });
        }
        return Ok(pem);
    }
    MACHINE_ROOTS.iter().find_map(|path| std::fs::read(path).ok()).ok_or_else(|| {
        StoreError::Options(format!(
            "an https endpoint without --etcd-cafile, and none of {} is there to trust; give --etcd-cafile",
            MACHINE_ROOTS.join(", ")
        ))
    })
}

const PEM_MARK: &[u8] = b"-----BEGIN ";

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(|source| StoreError::File {
        doing: "read the certificate file",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_is_missing_or_no_pem_is_named() {
        let files = |ca: &str| TlsFiles { ca: Some(ca.into()), ..TlsFiles::default() };
        for ca in ["/nonexistent/ca.pem", "/proc/self/comm"] {
            let refused = load(&files(ca)).unwrap_err().to_string();
            assert!(refused.contains(ca), "{refused}");
        }
    }
}
