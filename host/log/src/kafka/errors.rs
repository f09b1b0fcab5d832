//! What librdkafka's errors mean to the log's users.
//!
//! Must never: take a passing failure for a lasting one, or the other way round.

use super::native::{ErrorCode, NativeError, code, describe};
use crate::LogError;
use bulkhead_core::code::Code;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

/// Another producer opened the same transactional id.
pub(super) const FENCED: [ErrorCode; 3] = [
    code(E::RD_KAFKA_RESP_ERR__FENCED),
    code(E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
    code(E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
];

/// The group went on without this member, or in another generation.
pub(super) const MEMBER_FENCED: [ErrorCode; 6] = [
    code(E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
    code(E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID),
    code(E::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
    code(E::RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH),
    code(E::RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH),
    code(E::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS),
];

/// The log does not take this user, or not for this.
const REFUSED: [ErrorCode; 9] = [
    code(E::RD_KAFKA_RESP_ERR__AUTHENTICATION),
    code(E::RD_KAFKA_RESP_ERR__SSL),
    code(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
    code(E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED),
    code(E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED),
    code(E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    code(E::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED),
    code(E::RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM),
    code(E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION),
];

/// There is no such topic or partition.
pub(super) const GONE: [ErrorCode; 4] = [
    code(E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC),
    code(E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION),
    code(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
    code(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID),
];

/// The broker does not take this record, however often it is tried.
const RECORD_REFUSED: [ErrorCode; 4] = [
    code(E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE),
    code(E::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE),
    code(E::RD_KAFKA_RESP_ERR_INVALID_RECORD),
    code(E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP),
];

const OFFSET_LOST: [ErrorCode; 3] = [
    code(E::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET),
    code(E::RD_KAFKA_RESP_ERR__NO_OFFSET),
    code(E::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE),
];

const LEADERLESS: [ErrorCode; 2] =
    [code(E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE), code(E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION)];

/// The code for an error; what nothing else fits is the log being away, which passes.
pub(super) fn meaning(error: ErrorCode) -> Code {
    let is = |known: &[ErrorCode]| known.contains(&error);
    if is(&FENCED) || is(&MEMBER_FENCED) {
        Code::Fenced
    } else if is(&REFUSED) {
        Code::LogRefused
    } else if is(&GONE) {
        Code::TopicGone
    } else if is(&RECORD_REFUSED) {
        Code::OutputRefused
    } else if is(&OFFSET_LOST) {
        Code::OffsetLost
    } else if is(&LEADERLESS) {
        Code::PartitionLeaderless
    } else if error == code(E::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        || error == code(E::RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP)
    {
        Code::Conflict
    } else {
        Code::LogUnavailable
    }
}

/// Whether a client's error says that the log does not take its user. A connection that breaks during the login says so too, with the break as
/// its reason: a broker that stops refuses nobody.
pub(super) fn is_refusal(error: ErrorCode, reason: &str) -> bool {
    const PASSING: [ErrorCode; 2] = [code(E::RD_KAFKA_RESP_ERR__TRANSPORT), code(E::RD_KAFKA_RESP_ERR__TIMED_OUT)];
    REFUSED.contains(&error) && !PASSING.iter().any(|passing| reason.contains(&describe(*passing)))
}

/// An error with the words of librdkafka behind what was being done.
pub(super) fn log_error(doing: &str, error: &NativeError) -> LogError {
    LogError::new(meaning(error.code), format!("{doing}: {}", error.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_stops_during_a_login_refuses_nobody() {
        let authentication = code(E::RD_KAFKA_RESP_ERR__AUTHENTICATION);
        let broken = "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: (n/a)";
        assert!(!is_refusal(authentication, broken));
        assert!(is_refusal(authentication, "SASL authentication error: Authentication failed during authentication"));
        assert!(!is_refusal(code(E::RD_KAFKA_RESP_ERR__TRANSPORT), "Connection refused"));
    }
}
