//! The suite that every store must pass: one function for each rule of [`Store`](crate::store::Store), a comparison with the
//! memory store under random verbs, and a crowd of handlers at once.
//!
//! It stands beside the contract so that stores in other crates run it as it is:
//!
//! ```ignore
//! mod conformance {
//!     anklet_plugin_api::store_conformance!(super::make); // fn make(clock: &ConformanceClock) -> Arc<dyn Store>
//! }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::store::Store;
use crate::time::Moment;

pub mod adoption;
pub mod claims;
pub mod corrections;
pub mod crowd;
pub mod ends;
pub mod keys;
pub mod leases;
mod made;
pub mod model;
pub mod news;
mod pair;
pub mod questions;
pub mod runners;
pub mod silence;
mod step;
pub mod strays;
pub mod take_over;
pub mod vms;
pub mod waiting;
mod world;

/// Makes an empty store that takes its time from the clock.
pub type MakeStore<'a> = &'a dyn Fn(&ConformanceClock) -> Arc<dyn Store>;

/// A clock that stands still until a test moves it, so that nothing has to wait. Its clones are the same clock.
#[derive(Clone, Debug)]
pub struct ConformanceClock(Arc<AtomicI64>);

impl Default for ConformanceClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }
}

impl ConformanceClock {
    /// What it shows now.
    pub fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }

    /// The clock as a function, as stores take it.
    pub fn source(&self) -> Arc<dyn Fn() -> Moment + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }

    /// Moves it back, as a wall clock may be.
    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as i64, Ordering::SeqCst);
    }
}

/// Makes a `#[test]` of every rule for the stores that `$make` makes: `fn(&ConformanceClock) -> Arc<dyn Store>`.
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance! { @modules $make;
            claims {
                the_oldest_job_is_claimed_first
                jobs_without_a_date_go_by_arrival
                jobs_of_the_same_date_go_by_arrival
                owner_and_repo_decide_without_case
                an_enterprise_takes_its_own_and_unnamed_jobs
                jobs_of_another_enterprise_are_stepped_over
                groups_are_told_apart_without_case
                groups_passed_by_are_not_claimed
                a_claim_asked_for_again_is_the_same_one
                a_resumed_claim_is_renewed_and_moves_with_its_handler
                fences_count_new_claims
                nothing_in_sight_has_no_due_moment
            }
            waiting {
                a_held_job_is_due_at_its_moment
                a_held_job_blocks_nobody
                an_avoided_job_is_left_to_other_hosts
                at_most_32_avoided_jobs_are_stepped_over
                a_paused_job_goes_to_another_host_first
                a_paused_job_is_claimed_by_the_same_rules
                a_paused_job_that_has_started_stays
            }
            ends {
                the_attempt_is_written_with_the_claim
                a_failure_can_count_once_a_host
                failures_of_a_host_in_a_row_are_counted
                the_newest_16_reasons_are_kept
                a_given_back_job_keeps_its_age
                giving_back_what_is_over_finishes_it
                giving_back_what_runs_leaves_it_running
                leaving_a_job_running_ends_the_claim_only
                leaving_a_job_that_does_not_run_puts_it_where_it_belongs
                a_finished_job_leaves_a_tombstone
                an_end_found_out_by_the_handler_leaves_a_tombstone
            }
            keys {
                an_ended_claim_can_be_ended_again
                a_lost_claim_can_do_nothing
                an_older_fence_is_lost
                a_resumed_pause_is_over
                pauses_may_be_repeated
                looking_changes_nothing
                the_history_tells_what_happened
                the_newest_64_transitions_are_kept
            }
            take_over {
                taking_a_claim_needs_two_looks
                a_renewal_after_the_mark_keeps_the_claim
                a_marked_claim_is_taken_when_it_has_run_out
                whoever_renews_a_lease_marks_claims
                whoever_renews_a_claim_marks_others
                a_late_holder_succeeds_and_renews
                a_late_holder_may_end_its_claim
                nothing_is_marked_or_taken_unasked
                claims_outside_the_scope_are_left_alone
                the_oldest_ripe_claim_comes_before_queued_jobs
                a_claim_is_taken_in_every_phase
                what_the_host_passes_by_is_taken_too
                an_own_claim_that_ran_out_is_resumed
                a_taker_may_die_too
                the_clock_never_runs_back
            }
            news {
                webhooks_in_any_order_move_a_job_forward
                webhooks_in_any_order_reach_a_claimed_job
                doubled_news_is_known
                news_that_is_not_ours_stores_nothing
                news_of_ours_is_used_whatever_its_labels
                a_job_in_progress_waits_for_nobody
                a_job_over_at_its_first_word_leaves_a_tombstone
                a_held_job_can_start_or_end
                a_new_job_tells_everybody_to_look
            }
            corrections {
                a_higher_run_attempt_is_a_new_job
                a_higher_run_attempt_may_begin_anywhere
                a_lower_run_attempt_is_late
                the_api_moves_a_job_back
                the_api_moves_a_claimed_job_back
                the_api_names_another_runner
                a_runner_is_filled_in
                a_runner_once_named_stays
                an_unnamed_runner_leaves_the_claim
            }
            runners {
                a_job_starts_on_its_own_vm
                a_foreign_runner_takes_the_job
                an_unknown_job_on_our_vm_takes_the_claim
                a_queued_job_on_our_vm_takes_the_claim
                a_running_job_on_our_vm_takes_the_claim
                two_claims_swap_their_jobs
                a_partner_must_be_able_to_run_the_job
                a_partner_that_ran_the_job_before_gets_nothing
                a_job_over_is_not_handed_on
                a_job_in_progress_is_not_handed_on
                a_moved_claim_is_taken_from_nobody
            }
            strays {
                a_vm_without_a_claim_takes_the_job
                a_vm_of_an_unknown_job_is_named_its_job
                a_claim_that_was_taken_over_does_not_hold_the_vm
                completed_news_may_be_the_first_of_the_runner
                completed_on_another_claims_vm_moves_the_claim
                completed_on_a_foreign_runner_ends_the_claim
                completed_on_a_vm_without_a_claim_names_its_job
                a_late_swap_changes_nothing
            }
            vms {
                records_are_kept_by_host
                a_record_takes_the_place_of_its_name
                removing_a_vm_may_be_repeated
                a_removed_vm_is_nobodys
                a_claim_lets_go_of_a_removed_vm
                a_stale_record_is_written_with_the_claims_job
                the_end_of_the_job_on_an_unwatched_vm_is_told
                a_record_with_all_its_fields_comes_back
            }
            adoption {
                the_holder_watches_on
                a_running_job_is_adopted_by_its_vm
                an_adopted_claim_lives_as_long_as_the_last
                a_job_is_adopted_only_where_it_runs
                nothing_is_adopted_beside_another_claim
                a_job_over_meanwhile_is_not_adopted
            }
            leases {
                a_lease_is_taken_and_renewed
                a_lease_is_respected_until_it_runs_out
                a_gone_predecessor_is_followed_at_once
                a_released_lease_is_free
                leases_of_other_names_are_free
                several_leases_are_renewed_at_once
                records_of_a_lost_host_are_told_before_they_go
                a_host_that_comes_back_keeps_its_records
                a_host_that_never_had_a_lease_is_lost_in_time
            }
            silence {
                a_silent_job_comes_at_growing_intervals
                news_that_moves_a_job_ends_its_silence
                a_claimed_job_is_not_silent
                silent_jobs_come_by_scope_and_age
                notes_are_kept
            }
            questions {
                a_survey_tells_what_waits
                lists_come_by_place_and_age
                a_queued_job_has_its_position
                jobs_of_one_age_have_their_positions
                an_ended_job_is_remembered
                a_job_is_retried_by_hand
                a_job_is_removed_by_hand
                a_line_is_added_by_hand
                notices_are_up_for_their_life
            }
            crowd {
                a_crowd_of_handlers_ends_each_job_once
            }
            model {
                a_store_agrees_with_the_model
            }
        }
    };
    (@modules $make:expr; $($module:ident { $($rule:ident)* })*) => {
        $($(#[test]
        fn $rule() {
            $crate::conformance::$module::$rule(&|clock| ($make)(clock));
        })*)*
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::memory::MemoryStore;

    fn make(clock: &ConformanceClock) -> Arc<dyn Store> {
        Arc::new(MemoryStore::with_clock(clock.source()))
    }

    store_conformance!(make);
}
