//! TLS for the listener, from a certificate and a key in PEM files.

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, is not PEM, or lacks what it should hold.
    #[error("{}: no {wanted} can be read from it: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong.
        cause: pem::Error,
    },
    /// The certificate and the key do not belong together, or are of an unknown kind.
    #[error("the TLS certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// The listener's configuration for TLS 1.2 and 1.3 with this certificate.
///
/// `certificates` holds the server's certificate first, then the intermediate ones.
///
/// # Errors
/// If a file cannot be read or the two do not belong together.
pub fn server_config(certificates: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let file_error = |path: &Path, wanted| {
        let path = path.to_owned();
        move |cause| TlsError::File { path, wanted, cause }
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(file_error(certificates, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(file_error(key, "private key"))?;
    // The provider is named here so that no other crate's choice of a default can change it.
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A self-signed P-256 certificate for `localhost`, made for this test alone.
    const CERTIFICATE: &str = "\
        MIIBgDCCASWgAwIBAgIUaA/dzO1NcQx2QVb0z6y2WWYwhfYwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9j\
        YWxob3N0MCAXDTI2MTEyMjA4NTAwOVoYDzIxMjYxMDI5MDg1MDA5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3Qw\
        WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAST9K1NDM+gIbxn1l5XLxEoBThiLdK93+GVoUb/JyRXbRteqmdt\
        uGDpVems4jsC+ggmPT/edPUaQ/C3M8FUtviBo1MwUTAdBgNVHQ4EFgQUdUtsP5Va8VabLOqRSut3wTb46fYw\
        HwYDVR0jBBgwFoAUdUtsP5Va8VabLOqRSut3wTb46fYwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJ\
        ADBGAiEAhvEv7XuMGafcNwnd2NnRwLqCFfn6OVGSTL4PSn3xdTcCIQD4hovbK2Kqu4d80ZlV0fRO4HOtiG5J\
        OCpEsSWjluZK1A==";
    const KEY: &str = "\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxG+AequIHbZxT7L0ni5gBcZr+/PLSaJMpIz5\
        glUhm0WhRANCAAST9K1NDM+gIbxn1l5XLxEoBThiLdK93+GVoUb/JyRXbRteqmdtuGDpVems4jsC+ggmPT/e\
        dPUaQ/C3M8FUtviB";
    const OTHER_KEY: &str = "\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrl96yAmIwR6WTZsXOFc8uxPh05Xr98OlxP0v\
        0J1YifyhRANCAARMcQlu7SBwMLcQGBZ96QJDjNS3zGBCwRg9Gw/cPFEPL6pwujfPFIK2VNzsfFq7pNEiLW3o\
        TmP2hGLTPa7pUwzJ";

    fn pem(kind: &str, base64: &str) -> String {
        format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n")
    }

    fn certificate() -> String {
        pem("CERTIFICATE", CERTIFICATE)
    }

    fn key(base64: &str) -> String {
        pem("PRIVATE KEY", base64)
    }

    fn try_with(name: &str, certificate: &str, key: &str) -> Result<ServerConfig, TlsError> {
        let folder =
            std::env::temp_dir().join(format!("ifmatch-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (cert_path, key_path) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&cert_path, certificate).unwrap();
        fs::write(&key_path, key).unwrap();
        let outcome = server_config(&cert_path, &key_path);
        fs::remove_dir_all(&folder).unwrap();
        outcome
    }

    #[test]
    fn a_certificate_with_its_key_is_served() {
        assert!(try_with("good", &certificate(), &key(KEY)).is_ok());
    }

    #[test]
    fn another_key_is_refused() {
        assert!(matches!(
            try_with("other", &certificate(), &key(OTHER_KEY)),
            Err(TlsError::Pair(_))
        ));
    }

    #[test]
    fn files_without_what_they_should_hold_are_named() {
        let error = try_with("empty", "", &key(KEY)).unwrap_err().to_string();
        assert!(error.contains("cert.pem: no certificate"), "{error}");
        let error = try_with("swapped", &certificate(), &certificate()).unwrap_err().to_string();
        assert!(error.contains("key.pem: no private key"), "{error}");
        let error = server_config(Path::new("/nowhere/c"), Path::new("k")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/c: "), "{error}");
    }
}
