//! The one thing that `reqwest`, under the MCP client and the model client, wants from its process.

/// Makes sure that there is a crypto provider: `reqwest` panics without one. `main` installs it first
/// thing; where somebody else runs our code, it is installed here, and a second time changes nothing.
pub(crate) fn ensure_crypto() {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && provider.install_default().is_err()
    {
        tracing::debug!("another thread installed the crypto provider first");
    }
}
