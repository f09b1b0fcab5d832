//! The command line and a server that speaks HTTPS: whom it believes, and what it says where it does not.
//!
//! What speaks HTTPS is a process of the operator's before the host; here it is a few lines that do nothing else. Keys and certificates are in
//! `tests/tls`, with what made them.
//! Must never: touch the authorities of the machine that runs the tests.

use crate::shared::host;
use crate::shell::{Said, Shell};
use anyhow::Result;
use bulkhead_testbed::root;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

fn file(name: &str) -> PathBuf {
    root().join("tests/e2e/tests/tls").join(name)
}

/// What speaks HTTPS before a host, while it lives.
struct Front {
    port: u16,
    _runtime: Runtime,
}

impl Front {
    /// With this certificate, before the host at this address.
    fn start(certificate: &str, host: &str) -> Result<Self> {
        let certificate = CertificateDer::from_pem_file(file(certificate))?;
        let key = PrivateKeyDer::from_pem_file(file("server.key"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key)?));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let host = host.trim_start_matches("http://").to_owned();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, host) = (acceptor.clone(), host.clone());
                tokio::spawn(async move {
                    let (mut client, mut host) = (acceptor.accept(client).await?, TcpStream::connect(host).await?);
                    tokio::io::copy_bidirectional(&mut client, &mut host).await
                });
            }
        });
        Ok(Self { port, _runtime: runtime })
    }

    fn url(&self, scheme: &str, name: &str) -> String {
        format!("{scheme}://{name}:{}", self.port)
    }
}

fn assert_says(said: &Said, code: i32, words: &[&str]) {
    assert!(said.code == code && words.iter().all(|word| said.error.contains(word)), "{words:?}: {said:?}");
}

#[test]
fn a_server_of_ones_own_authority_is_believed_where_that_is_named() -> Result<()> {
    let host = host()?;
    host.tenant("careful")?;
    let front = Front::start("here.pem", host.url())?;
    let server = front.url("https", "localhost");
    let shell = Shell::new()?;
    std::fs::copy(file("authority.pem"), shell.at.join("own.pem"))?;
    let token = host.token("developer", Some("careful"))?;

    let doubted = shell.with_input(&["login", &server], token.as_bytes())?;
    assert_says(&doubted, 1, &["BH0614", "--ca FILE"]);
    let login = shell.with_input(&["login", &server, "--ca", "own.pem"], token.as_bytes())?;
    assert_eq!(login.code, 0, "{}", login.error);
    // From here on the config file names server, token and authority.
    shell.ok(&["topic", "create", "encrypted"])?;
    let records: String = (0..5_000).map(|n| format!("record {n}\n")).collect();
    let produced = shell.with_input(&["produce", "encrypted"], records.as_bytes())?;
    assert!(produced.out.contains("5000 records written"), "{produced:?}");
    let read = shell.ok(&["consume", "encrypted", "--values", "--limit", "1000"])?;
    assert_eq!(read.lines().next(), Some("record 0"));
    Ok(())
}

#[test]
fn a_server_that_is_not_believed_is_told_with_what_to_do() -> Result<()> {
    let host = host()?;
    let mut shell = Shell::of(&host, "careful", "developer")?;
    shell.set("BULKHEAD_CA", &file("authority.pem").display().to_string());
    let (elsewhere, expired) = (Front::start("elsewhere.pem", host.url())?, Front::start("expired.pem", host.url())?);
    let here = Front::start("here.pem", host.url())?;
    let list = |server: &str| shell.run(&["topic", "list", "--server", server]);

    assert_says(&list(&elsewhere.url("https", "localhost"))?, 1, &["BH0615", "bulkhead.example.com"]);
    assert_says(&list(&expired.url("https", "localhost"))?, 1, &["BH0616", "set this machine's clock"]);
    assert_says(&list(&here.url("http", "localhost"))?, 1, &["BH0617", "write https://"]);
    assert_says(&list(&host.url().replace("http://", "https://"))?, 1, &["BH0617", "write http://"]);
    // A certificate that nobody named has signed: here the server's own is named instead of the authority's.
    let other = file("elsewhere.pem").display().to_string();
    let said = shell.run(&["topic", "list", "--server", &here.url("https", "127.0.0.1"), "--ca", &other])?;
    assert_says(&said, 1, &["BH0614", "nobody that this machine believes"]);
    for (name, why) in [("server.key", "holds no certificate"), ("nothing.pem", "cannot be read")] {
        let said = shell.run(&["topic", "list", "--ca", &file(name).display().to_string()])?;
        assert_says(&said, 2, &["BH0604", why, "certificate in PEM"]);
    }
    Ok(())
}
