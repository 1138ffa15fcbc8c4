use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use protocol::channel::ChannelName;

type UserReporter = Reporter<ChannelName>;
type UserReport = PresenceReport<ChannelName>;

fn user(number: usize) -> ChannelName {
    ChannelName::of_user(&number.to_string()).unwrap()
}

/// What Redis has in the roster of the lease in force.
#[derive(Debug, Default)]
struct Roster(BTreeSet<ChannelName>);

impl Roster {
    fn apply(&mut self, report: &UserReport) {
        for name in &report.names {
            if report.is_present {
                self.0.insert(name.clone())
            } else {
                self.0.remove(name)
            };
        }
    }

    /// Takes all reports that are due, as a driver with a healthy link does.
    fn drain(&mut self, reporter: &mut UserReporter) {
        while let Some(report) = reporter.next_report() {
            assert!((1..=MAX_REPORTED).contains(&report.names.len()));
            self.apply(&report);
            reporter.answered(true);
        }
    }
}

#[test]
fn a_user_is_reported_once_until_it_leaves() {
    let (mut reporter, mut roster) = (UserReporter::default(), Roster::default());
    reporter.set(&user(1), true);
    let report = reporter.next_report().unwrap();
    assert_eq!(report, UserReport { is_present: true, names: vec![user(1)] });
    assert_eq!(reporter.next_report(), None, "one at a time");
    roster.apply(&report);
    reporter.answered(true);
    assert_eq!(reporter.next_report(), None);
    reporter.set(&user(1), false);
    assert_eq!(reporter.next_report().unwrap(), UserReport { is_present: false, names: vec![user(1)] });
    reporter.answered(true);
    assert_eq!(reporter.next_report(), None);
    assert!(reporter.names.is_empty(), "nothing is kept for it");
}

#[test]
fn a_user_that_came_and_left_between_reports_is_not_reported() {
    let mut reporter = UserReporter::default();
    reporter.set(&user(1), true);
    reporter.set(&user(1), false);
    assert_eq!(reporter.next_report(), None);
    assert!(reporter.names.is_empty());
}

#[test]
fn a_report_without_an_answer_is_sent_again() {
    let mut reporter = UserReporter::default();
    reporter.set(&user(1), true);
    let report = reporter.next_report();
    reporter.answered(false);
    assert_eq!(reporter.next_report(), report);
    reporter.set(&user(1), false);
    reporter.answered(false);
    assert!(!reporter.next_report().unwrap().is_present, "it may have been applied");
}

#[test]
fn everyone_is_reported_again_under_a_new_lease() {
    let (mut reporter, mut roster) = (UserReporter::default(), Roster::default());
    (0..1_200).for_each(|number| reporter.set(&user(number), true));
    roster.drain(&mut reporter);
    reporter.set(&user(0), false);
    reporter.begin_lease();
    let mut roster = Roster::default();
    roster.drain(&mut reporter);
    assert_eq!(roster.0, (1..1_200).map(user).collect());
}

#[test]
fn users_that_come_and_leave_without_a_lease_leave_nothing() {
    let mut reporter = UserReporter::default();
    reporter.set(&user(1), true);
    reporter.next_report();
    reporter.set(&user(2), true);
    reporter.end_lease();
    reporter.answered(true);
    for number in 3..100 {
        reporter.set(&user(number), true);
        reporter.set(&user(number), false);
    }
    reporter.set(&user(2), false);
    assert_eq!((reporter.names.len(), reporter.queue.len()), (1, 0));
    assert_eq!(reporter.next_report(), None);
    reporter.begin_lease();
    assert_eq!(reporter.next_report(), Some(UserReport { is_present: true, names: vec![user(1)] }));
}

proptest! {
    /// Whatever is lost on the way, Redis has the truth once the reports are answered.
    #[test]
    fn reports_converge_to_the_truth(steps in prop::collection::vec((0..7usize, 0..5usize, any::<bool>()), 0..200)) {
        let (mut reporter, mut roster, mut present) = (UserReporter::default(), Roster::default(), BTreeSet::new());
        let mut has_lease = true;
        for (kind, number, flag) in steps {
            match kind {
                0..=2 => {
                    reporter.set(&user(number), flag);
                    if flag { present.insert(user(number)) } else { present.remove(&user(number)) };
                }
                3 => {
                    if let Some(report) = reporter.next_report().filter(|_| flag) {
                        roster.apply(&report);
                    }
                }
                4 => {
                    // An answer that is lost says nothing about the report.
                    if let Some(sent) = reporter.sent.clone() && flag {
                        roster.apply(&sent);
                    }
                    reporter.answered(flag);
                }
                5 if flag => {
                    reporter.begin_lease();
                    roster = Roster::default();
                    has_lease = true;
                }
                6 if flag => {
                    reporter.end_lease();
                    has_lease = false;
                }
                _ => {}
            }
            if !has_lease {
                prop_assert_eq!((reporter.names.len(), reporter.queue.len()), (present.len(), 0));
            }
        }
        if !has_lease {
            reporter.begin_lease();
            roster = Roster::default();
        }
        reporter.answered(false);
        roster.drain(&mut reporter);
        prop_assert_eq!(&roster.0, &present);
        prop_assert_eq!(reporter.names.len(), present.len());
    }
}
