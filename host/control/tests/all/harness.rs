//! A server on a port of its own, with tokens for everybody.

use crate::client::Client;
use crate::metadata::Metadata;
use crate::ports::Ports;
use bulkhead_control::{Control, ControlConfig, Grant, Patient, Peer, Rate, Role};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Short, so that the test of a reader which never reads is quick.
const STALL_MAX: std::time::Duration = std::time::Duration::from_secs(2);

pub(crate) struct Server {
    pub(crate) control: Arc<Control>,
    pub(crate) ports: Ports,
    pub(crate) registry: prometheus::Registry,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) metadata: Metadata,
    dir: TempDir,
    end: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ControlConfig)) -> Self {
        Self::open(tempfile::tempdir().unwrap(), Metadata::new().await, Ports::default(), change).await
    }

    async fn open(dir: TempDir, metadata: Metadata, ports: Ports, change: impl FnOnce(&mut ControlConfig)) -> Self {
        let mut config = ControlConfig::new(dir.path().join("data"));
        metadata.set(&mut config);
        // Tests are one tenant's storm; those of the limits set their own.
        (config.quotas.api_requests_per_second, config.quotas.api_burst) = (1_000_000, 1_000_000);
        config.address_rate = Rate::new(1_000_000, 1_000_000);
        change(&mut config);
        let registry = prometheus::Registry::new();
        let control =
            Control::open(config, ports.modules.clone(), ports.topics.clone(), crate::ports::parquet, &registry)
                .await
                .expect("control opens");
        let control = Arc::new(control);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Patient::new(listener, STALL_MAX);
        let (end, ended) = oneshot::channel();
        let router = control.router().into_make_service_with_connect_info::<Peer>();
        let serving = tokio::spawn(async move {
            let until = async { drop(ended.await) };
            axum::serve(listener, router).with_graceful_shutdown(until).await.unwrap();
        });
        Self { control, ports, registry, address, metadata, dir, end, serving }
    }

    /// Ends the process as far as can be done within one, and starts another on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// [`Server::restart`] with another configuration.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut ControlConfig)) -> Self {
        let Self { control, ports, metadata, dir, end, serving, .. } = self;
        control.stop();
        end.send(()).expect("the server is still running");
        serving.await.unwrap();
        Arc::into_inner(control).expect("nobody else holds control").close().await;
        Self::open(dir, metadata, ports, change).await
    }

    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// A client without a token.
    pub(crate) fn anybody(&self) -> Client {
        Client::new(self.address, None)
    }

    pub(crate) fn with_token(&self, token: &str) -> Client {
        Client::new(self.address, Some(token.to_owned()))
    }

    /// A client with a role in a tenant.
    pub(crate) fn client(&self, tenant: &str, role: Role) -> Client {
        let grant = Grant::new(format!("{role}@{tenant}"), Some(tenant.parse().unwrap()), role);
        self.with_token(&self.control.issuer().mint(&grant).unwrap())
    }

    pub(crate) fn platform(&self) -> Client {
        self.with_token(&self.control.issuer().mint(&Grant::new("operator", None, Role::PlatformAdmin)).unwrap())
    }

    pub(crate) fn worker(&self) -> Client {
        self.worker_in("pool-0", None)
    }

    /// A client with the token of a worker in this slot, of the pool or of one tenant.
    pub(crate) fn worker_in(&self, slot: &str, tenant: Option<&str>) -> Client {
        let grant = Grant::worker(slot, tenant.map(|tenant| tenant.parse().unwrap()));
        self.with_token(&self.control.issuer().mint(&grant).unwrap())
    }

    /// A client whose token names a tenant and a subject, and no role.
    pub(crate) fn nobody(&self, tenant: &str, subject: &str) -> Client {
        let grant = Grant { roles: [].into(), ..Grant::new(subject, Some(tenant.parse().unwrap()), Role::Viewer) };
        self.with_token(&self.control.issuer().mint(&grant).unwrap())
    }

    /// Makes a tenant and gives its developer.
    pub(crate) async fn tenant(&self, name: &str) -> Client {
        self.platform().post("/api/v1/tenants", &serde_json::json!({"name": name})).await.expect(201);
        self.client(name, Role::Developer)
    }

    /// Every file below the object store's folder.
    pub(crate) fn objects(&self) -> Vec<String> {
        fn walk(dir: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.data_dir().join("objects"), &mut found);
        found
    }

    /// Waits for something that happens in the background.
    pub(crate) async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while !done().await {
            assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// A component as far as [`crate::ports::MemoryModules`] can tell.
pub(crate) fn component(text: &str) -> Vec<u8> {
    [b"\0asm", text.as_bytes()].concat()
}
