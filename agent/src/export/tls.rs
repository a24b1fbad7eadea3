//! Whom to trust, and who the agent says it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::export::settings::Tls;

/// Why TLS cannot be set up.
#[derive(thiserror::Error, Debug)]
pub enum TlsError {
    /// A PEM file cannot be used.
    #[error("cannot read {what} from {path}: {source}; name a PEM file that holds it")]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Nobody to trust.
    #[error(
        "this machine has no trusted certificates; install them (ca-certificates), or name a CA file for the endpoint"
    )]
    NoRoots,
    /// Certificate and key do not go together.
    #[error("the client certificate {certificate} cannot be used with the key {key}: {source}")]
    Client {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No version of TLS is left.
    #[error("cannot set up TLS: {0}")]
    Versions(rustls::Error),
}

/// A client that trusts this machine's certificates and those of `tls`.
pub(super) fn client(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &tls.ca {
        roots.add_parsable_certificates(certificates(path)?);
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let builder = builder()?.with_root_certificates(roots);
    let Some((certificate, key)) = &tls.client else { return Ok(builder.with_no_client_auth()) };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| file("a private key", key, source))?;
    builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|source| TlsError::Client {
        certificate: certificate.clone(),
        key: key.clone(),
        source,
    })
}

/// A client that trusts nobody, for endpoints without TLS: reading the machine's certificates costs time and memory.
pub(super) fn unused() -> Result<ClientConfig, TlsError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(TlsError::Versions)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |path| CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read(path) {
        Ok(found) if found.is_empty() => Err(file("a certificate", path, pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(source) => Err(file("a certificate", path, source)),
    }
}

fn file(what: &'static str, path: &Path, source: pem::Error) -> TlsError {
    TlsError::File { what, path: path.to_owned(), source }
}
