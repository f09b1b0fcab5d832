//! Kafka passes the suite that every log passes, by both group protocols, with a user who may do only what a worker must.

use bulkhead_log::Log;
use bulkhead_log::kafka::{GroupProtocol, KafkaConfig, KafkaLog, Mechanism, Sasl};
use bulkhead_test_services::{Acl, Kafka, Resource};
use std::sync::{Arc, LazyLock};

/// One broker for all cases of this binary; it ends with the process.
static KAFKA: LazyLock<Kafka> = LazyLock::new(|| {
    let kafka = Kafka::start(1);
    let acls = [
        Acl::prefix(Resource::Topic, "conf-"),
        Acl::prefix(Resource::Group, "_bulkhead.conf-"),
        Acl::prefix(Resource::TransactionalId, "_bulkhead.conf-"),
    ];
    kafka.add_user_with("worker", "worker-pw", &acls);
    kafka.add_user("stranger", "stranger-pw");
    kafka
});

fn config(user: &str, password: &str, group_protocol: GroupProtocol) -> KafkaConfig {
    let mut config = KafkaConfig::new(KAFKA.bootstrap());
    config.sasl =
        Some(Sasl { mechanism: Mechanism::ScramSha512, user: user.to_owned(), password: password.to_owned() });
    config.group_protocol = group_protocol;
    config
}

fn open(config: KafkaConfig) -> Arc<dyn Log> {
    Arc::new(KafkaLog::new(config).expect("a valid configuration"))
}

mod consumer {
    use super::*;

    static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| open(config("worker", "worker-pw", GroupProtocol::Consumer)));

    bulkhead_log::conformance!(Arc::clone(&LOG));
}

mod classic {
    use super::*;

    static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| open(config("worker", "worker-pw", GroupProtocol::Classic)));

    bulkhead_log::conformance!(Arc::clone(&LOG));
}
