//! What every log must do, as one suite that runs on each implementation.
//!
//! A case takes a [`Bench`], whose names no other case uses, so that cases may run side by side on one log. [`crate::conformance!`] makes a
//! test of each.
//! Must never: depend on which log it runs on, or on how long anything takes.

mod faults;
mod groups;
mod member;
mod names;
mod positions;
mod records;
mod rows;
mod sizes;
mod transactions;

pub use faults::*;
pub use groups::*;
pub use names::Bench;
pub use positions::*;
pub use records::*;
pub use sizes::*;
pub use transactions::*;

/// Makes a `#[test]` of every case. The argument is an expression that gives an `Arc<dyn Log>`, evaluated once for each test.
#[macro_export]
macro_rules! conformance {
    ($log:expr) => {
        $crate::conformance!(@ $log;
            order_is_kept_within_a_partition,
            nulls_and_headers_come_back_as_written,
            outputs_inherit_from_their_source,
            reading_starts_where_asked_and_waits,
            a_topic_is_made_described_listed_and_deleted,
            the_oldest_records_are_deleted_and_no_others,
            batches_keep_to_their_limits,
            eight_mebibytes_come_in_one_batch,
            a_record_larger_than_a_batch_comes_alone,
            a_full_batch_does_not_linger,
            an_output_too_large_names_its_owner,
            a_named_partition_takes_rows_whatever_their_keys,
            outputs_and_positions_commit_together,
            an_abort_leaves_nothing_and_can_be_tried_again,
            open_transactions_are_invisible,
            several_groups_commit_in_one_transaction,
            one_fenced_group_stops_the_whole_transaction,
            sixteen_groups_fit_a_transaction,
            lag_ends_at_nought_behind_a_transactional_source,
            groups_start_where_asked_and_that_is_durable,
            a_start_offset_is_clamped,
            a_restart_goes_on_from_the_committed_position,
            a_lost_position_is_an_error,
            positions_of_many_groups_are_told_at_once,
            a_paused_partition_is_silent_until_resumed,
            seeking_reads_again,
            a_group_is_deleted_when_empty,
            a_revoke_holds_the_group_until_acknowledged,
            an_epoch_ends_with_its_acknowledgement,
            a_closed_member_hands_over_and_is_fenced,
            members_come_and_go_without_loss_or_double,
            a_writer_is_fenced_by_the_next_of_its_name,
            unknown_outcomes_are_settled_by_recovery,
            injected_faults_leave_the_log_as_they_say,
            a_deleted_topic_ends_its_readers_and_names_its_owner
        );
    };
    (@ $log:expr; $($case:ident),+) => {
        $(#[test]
        fn $case() {
            $crate::conformance::$case(&$crate::conformance::Bench::new($log, stringify!($case)));
        })+
    };
}
