//! The list of all cases, and the macro that makes tests of them.

/// Puts a kind of store through the suite: `store_suite!(name, factory)`, and
/// `store_suite!(name, factory, durable)` for one that outlives its process. The
/// tests are named `name::room::case`, and `name::asked_twice::room::case` where
/// every answer is lost once.
#[macro_export]
macro_rules! store_suite {
    ($suite:ident, $factory:expr) => {
        mod $suite {
            use super::*;

            fn factory() -> impl $crate::StoreFactory {
                $factory
            }

            $crate::store_suite! { @every_store }

            mod asked_twice {
                fn factory() -> impl $crate::StoreFactory {
                    $crate::AskedTwice(super::factory())
                }

                $crate::store_suite! { @every_store }
            }
        }
    };
    ($suite:ident, $factory:expr, durable) => {
        mod $suite {
            use super::*;

            fn factory() -> impl $crate::DurableFactory {
                $factory
            }

            $crate::store_suite! { @every_store }
            mod durable {
                use super::factory;

                $crate::store_suite! { @durable_store }
            }

            mod asked_twice {
                fn factory() -> impl $crate::DurableFactory {
                    $crate::AskedTwice(super::factory())
                }

                $crate::store_suite! { @every_store }
                mod durable {
                    use super::factory;

                    $crate::store_suite! { @durable_store }
                }
            }
        }
    };
    (@rooms $($room:ident { $($case:ident)+ })+) => {
        $(mod $room {
            $(#[test]
            fn $case() {
                $crate::run($crate::cases::$room::$case(&super::factory()));
            })+
        })+
    };
    (@every_store) => {
        $crate::store_suite! { @rooms
            accepting {
                an_accepted_event_reads_back_as_it_is
                an_event_as_large_as_events_may_be_is_kept
                sequences_are_dense_over_interleaved_jobs
                a_refused_append_takes_no_sequence
                a_progress_is_processing_after_processing
                nothing_follows_a_terminal_event
                a_job_has_a_thousand_lifecycle_events_and_an_end
                a_refused_append_changes_nothing
                a_full_store_refuses_without_a_trace
                a_settle_makes_room_for_an_append_of_its_batch
                a_refusal_leaves_the_rest_of_its_batch_alone
                an_empty_batch_writes_nothing
            }
            idempotency {
                a_repetition_returns_the_first_event
                a_repetition_is_delivered_once
                other_content_is_a_conflict
                a_key_is_looked_at_before_the_jobs_end
                a_key_counts_within_its_own_batch
                a_key_is_its_jobs_own
                a_refused_append_leaves_its_key_free
                a_key_is_kept_as_long_as_its_job
            }
            fan_out {
                the_jobs_endpoint_and_the_named_one_are_told
                one_endpoint_is_told_once
                nobody_is_told_of_an_event_without_an_endpoint
                a_job_asks_for_some_statuses
                an_endpoint_is_one_by_its_url
                one_batch_makes_an_endpoint_once
                a_job_that_changes_its_endpoint_keeps_what_waits
            }
            lanes {
                only_the_head_is_leased
                an_event_behind_a_failing_one_waits
                lanes_do_not_wait_for_each_other
                leasing_waits_for_the_whole_batch
                a_waiting_progress_gives_way_to_any_newer_event
                a_progress_gives_way_wherever_it_waits
                a_lifecycle_event_never_gives_way
                a_leased_progress_is_left_alone
                a_progress_that_failed_gives_way_too
                a_newer_progress_inherits_the_due_time
                any_other_event_is_due_at_once
                a_progress_given_back_hands_its_due_time_on
                progress_keeps_its_distance
                progress_keeps_its_distance_from_send_to_send
                progress_that_was_not_sent_keeps_nobody_waiting
                progress_may_keep_no_distance
                each_lane_keeps_its_own_distance
                a_failing_event_is_overtaken_by_the_end
                a_retry_that_comes_too_late_is_overtaken_at_once
                an_event_that_never_failed_is_not_overtaken
            }
            leasing {
                what_is_leased_is_whole
                a_delivery_is_leased_once
                nothing_is_leased_before_it_is_due
                next_due_is_the_earliest_of_heads_to_come
                a_clock_that_jumps_back_leases_nothing_early
                a_claim_keeps_to_the_room_of_each_endpoint
                nothing_is_leased_once_the_bytes_are_used_up
                a_write_leases_where_there_is_room
                a_disabled_endpoint_is_not_attempted
                a_receiver_that_is_gone_is_disabled_at_once
                only_gone_disables_an_endpoint
            }
            settling {
                a_lease_settles_once
                an_old_lease_settles_nothing
                a_foreign_lease_settles_nothing
                a_stale_lease_leaves_the_rest_of_its_batch_alone
                what_is_given_back_can_be_leased_again
                a_retry_counts_its_attempt
                our_own_failure_counts_as_no_attempt
                what_only_failed_at_our_end_is_not_overtaken
                an_attempt_is_kept_as_it_is
                what_is_settled_is_no_longer_pending
            }
            sick {
                an_endpoint_is_sick_from_when_it_was_noted_until_it_is_well
                a_sick_endpoint_begins_with_one
                what_is_due_at_a_sick_endpoint_for_too_long_expires
                a_lane_expires_from_its_head_on
                what_is_leased_or_not_yet_due_does_not_expire
                what_waits_at_a_disabled_endpoint_is_kept_until_it_expires
                a_receiver_that_is_gone_is_sick
                a_failing_event_is_not_overtaken_while_its_endpoint_is_sick
                a_redelivery_expires_as_anything_does
                health_goes_by_a_clock_that_is_set
            }
            dead_letters {
                a_dead_letter_keeps_its_own_copy
                dead_letters_are_found_by_each_field
                dead_letters_of_one_moment_are_paged_once_each
                dropping_forgets_what_matches
                of_an_endpoint_with_too_many_the_oldest_make_room
                making_room_for_dead_letters_keeps_to_its_limit
                of_the_largest_endpoint_the_oldest_make_room
                what_is_redelivered_or_dropped_takes_no_room
            }
            deleting {
                a_deleted_job_is_gone_with_all_that_it_has
                a_running_job_is_deleted_only_by_force
                what_is_unknown_is_not_deleted
                a_lease_of_what_was_deleted_settles_nothing
                another_job_begins_under_a_deleted_ones_id
                what_has_just_been_given_up_is_deleted_too
                what_outlived_a_job_is_deleted_by_its_id
                a_large_job_is_there_until_it_is_wholly_gone
                deletions_of_one_batch_take_turns
                a_deleted_endpoint_is_gone_with_all_that_it_has
                a_large_endpoint_is_there_until_it_is_wholly_gone
                a_job_that_waits_for_a_deleted_endpoint_has_ended
            }
            redelivering {
                a_redelivery_is_the_next_generation
                a_redelivery_may_succeed
                redelivering_takes_what_matches
                a_redelivery_is_a_lane_of_its_own
                a_redelivery_keeps_no_progress_waiting
                a_redelivery_waits_for_its_endpoint
                a_dead_letter_outlives_its_job
                a_redelivery_goes_to_the_endpoint_of_today
                a_redelivery_does_not_touch_a_later_job_of_that_name
            }
            endpoints {
                a_registration_makes_a_job_with_a_token
                a_registered_job_is_not_registered_again
                a_token_is_replaced_on_demand
                a_job_that_an_event_made_can_be_registered
                a_new_endpoint_takes_the_secret_for_new_ones
                a_secret_that_is_said_beats_the_one_for_new_endpoints
                another_secret_for_a_known_endpoint_is_a_conflict
                an_endpoint_without_its_own_secret_is_given_none
                a_rotated_secret_stays_active_for_a_while
                a_third_active_secret_is_refused
                rotations_at_one_moment_do_not_undo_each_other
                an_unknown_endpoint_is_not_changed
                endpoints_are_listed_newest_first
            }
            reading {
                events_are_read_after_a_sequence
                a_page_ends_where_it_would_be_large
                an_unknown_job_is_none
                a_running_job_keeps_its_newest_progress
                a_finished_job_keeps_its_last_progress
                a_delivery_outlives_its_events_place_in_the_log
                a_job_is_seen_as_it_stands
                jobs_are_listed_newest_first
                a_job_without_an_event_is_listed_as_queued
                a_cursor_holds_while_jobs_come
                deliveries_are_listed_newest_first
                counters_count_what_is_held
            }
            trimming {
                a_finished_job_is_forgotten_whole
                retention_begins_with_the_last_settled_delivery
                retention_begins_with_the_end_if_that_is_later
                a_running_job_is_never_forgotten
                a_finished_job_with_something_pending_is_kept
                dead_letters_have_their_own_retention
                a_trim_keeps_to_its_limit
                a_job_of_many_rows_is_a_step_of_its_own
                a_dead_letter_of_a_clock_that_was_ahead_keeps_no_other
                a_redelivery_is_forgotten_with_its_job
                a_redelivery_puts_retention_off
                a_forgotten_job_begins_anew
                what_is_known_of_an_endpoint_outlives_its_jobs
                what_is_known_of_an_endpoint_that_nothing_names_goes_in_time
            }
            clock {
                a_clock_set_back_lengthens_no_wait
                a_clock_set_back_ends_no_lease
                a_clock_set_back_holds_no_progress
                a_clock_set_forward_makes_due_what_has_fallen_due
                an_event_is_overtaken_after_a_minute_by_any_clock
            }
            lost_replies {
                a_key_makes_one_event_of_many_tries
                a_batch_is_there_or_absent_as_a_whole
                a_settle_that_is_repeated_counts_once
                a_redelivery_that_is_repeated_is_one_generation
                a_registration_that_is_repeated_is_one
                tries_leave_no_trace
            }
            histories {
                random_histories_agree_with_the_model
            }
        }
    };
    (@durable_store) => {
        $crate::store_suite! { @rooms
            lost_replies {
                a_lease_whose_answer_was_lost_is_void_after_a_restart
            }
            histories {
                random_histories_with_restarts_agree_with_the_model
            }
            deleting {
                a_deletion_survives
                a_deletion_that_was_cut_short_is_finished_by_another
            }
            clock {
                a_wait_is_no_longer_for_a_clock_that_was_ahead
                a_clock_that_was_ahead_holds_no_lane
                nothing_is_overtaken_for_time_that_nobody_saw
            }
            sick {
                what_is_sick_is_sick_after_a_restart
                what_fell_sick_in_the_future_expires_all_the_same
            }
            restarting {
                everything_that_can_be_read_is_kept
                an_acknowledged_event_survives_at_once
                a_sequence_that_left_the_log_is_not_reused
                leases_are_void_after_a_restart
                what_waited_is_as_large_as_it_was
                a_settled_delivery_stays_settled
                a_retry_keeps_its_due_time_and_attempts
                the_minute_of_a_failing_event_runs_on
                keys_tokens_and_secrets_are_kept
                a_redelivery_survives
                what_was_forgotten_stays_forgotten
                retention_counts_from_before_the_restart
                dead_letters_of_before_the_restart_make_room
                a_crash_during_recovery_loses_nothing
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fs;

    /// A case that nobody runs is worse than none.
    #[test]
    fn the_suite_runs_every_case_that_is_written() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let listed = fs::read_to_string(format!("{source}/suite.rs")).unwrap();
        let listed: Vec<&str> = listed.split_whitespace().collect();
        let mut cases = 0;
        for file in fs::read_dir(format!("{source}/cases")).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for case in source.split("\npub async fn ").skip(1) {
                let name = case.split('(').next().unwrap();
                assert_eq!(
                    listed.iter().filter(|word| **word == name).count(),
                    1,
                    "{name}"
                );
                cases += 1;
            }
        }
        assert!(cases > 100, "{cases}");
    }
}
