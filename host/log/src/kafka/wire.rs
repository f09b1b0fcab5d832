//! One connection to one broker, for what librdkafka has no request for: in plain text or encrypted, logged in as librdkafka would.
//!
//! The messages are those of the crate `kafka-protocol`, the login is `rsasl`'s, the encryption is OpenSSL, which librdkafka uses too and
//! which therefore believes the same authorities. Each call waits for its answer; a connection is used for a few calls and closed.
//! Must never: send a password, or anything, to a broker whose certificate does not hold where encryption was asked for.

use super::login::{Encryption, Login, Password};
use crate::LogError;
use bulkhead_core::code::Code;
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use openssl::x509::store::X509StoreBuilder;
use rsasl::prelude::{Mechname, SASLClient, SASLConfig};
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a broker may take to let itself be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer: the sizes of some two million partitions.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Versions that every broker since Kafka 2.0 understands.
const HANDSHAKE_VERSION: i16 = 1;
const AUTHENTICATE_VERSION: i16 = 1;
/// Messages of a login at most; SCRAM has two.
const LOGIN_STEPS_MAX: usize = 8;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection, logged in.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    broker: String,
    calls: i32,
}

impl Connection {
    /// Reaches a broker and logs in.
    ///
    /// # Errors
    /// [`Code::LogUnavailable`] where it does not answer as a broker does, [`Code::LogRefused`] where it or its certificate is not
    /// accepted, or it does not accept the login.
    pub(super) fn open(login: &Login, host: &str, port: u16) -> Result<Self, LogError> {
        let broker = format!("{host}:{port}");
        let addresses = (host, port).to_socket_addrs().map_err(|error| away(&broker, &error))?;
        let mut reached = Err(away(&broker, &"it has no address"));
        for address in addresses {
            reached = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(|error| away(&broker, &error));
            if reached.is_ok() {
                break;
            }
        }
        let stream = reached?;
        stream
            .set_read_timeout(Some(SILENCE_MAX))
            .and_then(|()| stream.set_write_timeout(Some(SILENCE_MAX)))
            .and_then(|()| stream.set_nodelay(true))
            .map_err(|error| away(&broker, &error))?;
        let stream: Box<dyn Stream> = match &login.tls {
            None => Box::new(stream),
            Some(tls) => encrypted(tls, host, stream).map_err(|error| refused(&broker, &error))?,
        };
        let mut connection = Self { stream, broker, calls: 0 };
        if let Some(password) = &login.sasl {
            connection.log_in(password)?;
        }
        Ok(connection)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`Code::LogUnavailable`].
    pub(super) fn call<Q, A>(&mut self, key: ApiKey, version: i16, request: &Q) -> Result<A, LogError>
    where
        Q: Encodable + HeaderVersion,
        A: Decodable + HeaderVersion,
    {
        self.calls += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.calls)
            .with_client_id(Some(StrBytes::from_static_str("bulkhead")));
        let (mut message, mut framed) = (BytesMut::new(), Vec::new());
        header
            .encode(&mut message, Q::header_version(version))
            .and_then(|()| request.encode(&mut message, version))
            .map_err(|error| away(&self.broker, &error))?;
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend_from_slice(&message);
        let answer = self.exchange(&framed).map_err(|error| away(&self.broker, &error))?;
        self.answer(answer, version)
    }

    fn exchange(&mut self, framed: &[u8]) -> std::io::Result<Bytes> {
        self.stream.write_all(framed)?;
        self.stream.flush()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            let text = format!("its answer has {length} bytes, and {ANSWER_BYTES_MAX} are read at most");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(answer.into())
    }

    fn answer<A: Decodable + HeaderVersion>(&self, mut answer: Bytes, version: i16) -> Result<A, LogError> {
        let header = ResponseHeader::decode(&mut answer, A::header_version(version))
            .map_err(|error| away(&self.broker, &error))?;
        if header.correlation_id != self.calls {
            return Err(away(&self.broker, &"it answered another request"));
        }
        let decoded = A::decode(&mut answer, version).map_err(|error| away(&self.broker, &error))?;
        if answer.has_remaining() {
            return Err(away(&self.broker, &"its answer goes on beyond its end"));
        }
        Ok(decoded)
    }

    /// Proves the password, and by SCRAM has the broker prove that it knows it.
    fn log_in(&mut self, Password { mechanism: name, user, password }: &Password) -> Result<(), LogError> {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let offered: SaslHandshakeResponse = self.call(ApiKey::SaslHandshake, HANDSHAKE_VERSION, &handshake)?;
        if offered.error_code != 0 {
            return Err(refused(&self.broker, &format!("it does not take {name}")));
        }
        let no = |broker: &str, error: &dyn Display| refused(broker, &format!("the login failed: {error}"));
        let credentials = SASLConfig::with_credentials(None, user.clone(), password.clone());
        let mechanism = Mechname::parse(name.as_bytes()).map_err(|error| no(&self.broker, &error))?;
        let mut session = credentials
            .and_then(|config| SASLClient::new(config).start_suggested(&[mechanism]))
            .map_err(|error| no(&self.broker, &error))?;
        let mut heard: Option<Bytes> = None;
        for _ in 0..LOGIN_STEPS_MAX {
            let mut said = Vec::new();
            let state = session.step(heard.as_deref(), &mut said).map_err(|error| no(&self.broker, &error))?;
            if !state.has_sent_message() {
                return Ok(());
            }
            let request = SaslAuthenticateRequest::default().with_auth_bytes(said.into());
            let answer: SaslAuthenticateResponse =
                self.call(ApiKey::SaslAuthenticate, AUTHENTICATE_VERSION, &request)?;
            if answer.error_code != 0 {
                let words = answer.error_message.unwrap_or_default();
                return Err(no(&self.broker, &words));
            }
            if state.is_finished() {
                return Ok(());
            }
            heard = Some(answer.auth_bytes);
        }
        Err(no(&self.broker, &"it does not end"))
    }
}

/// The same stream, encrypted, to whoever has a certificate of this name.
fn encrypted(tls: &Encryption, host: &str, stream: TcpStream) -> Result<Box<dyn Stream>, Box<dyn std::error::Error>> {
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    if let Some(ca) = &tls.ca {
        // These alone, as librdkafka has it.
        connector.set_cert_store(X509StoreBuilder::new()?.build());
        connector.set_ca_file(ca)?;
    }
    if let Some((certificate, key)) = &tls.own {
        connector.set_certificate_chain_file(certificate)?;
        connector.set_private_key_file(key, SslFiletype::PEM)?;
    }
    let connection = connector.build().configure()?.verify_hostname(!tls.any_name);
    let stream = connection.connect(host, stream).map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

fn away(broker: &str, why: &dyn Display) -> LogError {
    LogError::new(Code::LogUnavailable, format!("broker {broker}: {why}"))
}

fn refused(broker: &str, why: &dyn Display) -> LogError {
    LogError::new(Code::LogRefused, format!("broker {broker}: {why}"))
}
