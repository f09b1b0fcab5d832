//! Runs a service by hand: prints as JSON how to reach it, and keeps it until SIGTERM or SIGINT.
//!
//! `cargo run -p bulkhead-test-services -- kafka --brokers 3`; with `install kafka` it only installs it and prints the folder
//! of its jars; `install s3` the same with the S3 server's program, `install keycloak` with Keycloak's folder,
//! `install prometheus` with the folder of its programs.

use anyhow::{Context, Result, bail};
use bulkhead_test_services::{
    ADMIN_PASSWORD, ADMIN_USER, KAFKA, Kafka, install_kafka, install_keycloak, install_prometheus, install_s3,
};
use std::io::Write;

const USAGE: &str = "usage: bulkhead-test-services kafka [--brokers N] | install kafka | install s3 | install keycloak | \
    install prometheus";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let brokers = match words[..] {
        ["kafka"] => 1,
        ["kafka", "--brokers", count] => count.parse().context(USAGE)?,
        ["install", "kafka"] => {
            println!("{}", install_kafka(KAFKA)?.display());
            return Ok(());
        }
        ["install", "s3"] => {
            println!("{}", install_s3()?.display());
            return Ok(());
        }
        ["install", "keycloak"] => {
            println!("{}", install_keycloak()?.display());
            return Ok(());
        }
        ["install", "prometheus"] => {
            println!("{}", install_prometheus()?.display());
            return Ok(());
        }
        _ => bail!(USAGE),
    };
    let signals = block_signals();
    let kafka = Kafka::try_start(brokers)?;
    let processes: Vec<_> = (1..=brokers).filter_map(|broker| kafka.process_id(broker)).collect();
    let reached = serde_json::json!({
        "bootstrap": kafka.bootstrap(), "user": ADMIN_USER, "password": ADMIN_PASSWORD,
        "security": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-512", "processes": processes,
    });
    println!("{reached}");
    std::io::stdout().flush()?;
    let mut signal = 0;
    // SAFETY: both point to values of this frame.
    unsafe { libc::sigwait(&signals, &mut signal) };
    Ok(())
}

/// Blocks the signals that end this program, in this thread and in all that it starts, so that `sigwait` gets them.
fn block_signals() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before anything reads it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        set
    }
}
