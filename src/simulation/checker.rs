//! Checks the messages that one client received on one channel against the record of publications.

use super::plan::ChannelKind;
use super::record::{ChannelRecord, RecordedPublication, Retention};
use protocol::position::Position;

/// The messages that one client received on one channel.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// The number of the last durable message received.
    last: u64,
    /// The last publication before the first subscription; `None` before that subscription is confirmed.
    start: Option<u64>,
    /// Whether a gap was reported since the last message, so messages may be missing.
    gap_reported: bool,
    /// Whether the subscription is confirmed.
    pub(super) is_subscribed: bool,
    /// The position from which the client resumes.
    pub(super) position: Option<Position>,
    /// The number of publications before this session's subscription was confirmed.
    plain_from: u64,
    /// The number of the last plain message of this session.
    last_plain: u64,
    plain_gap_reported: bool,
    /// How many of the last messages have not come, and the number of publications when they were announced.
    awaited_last: (u32, u64),
    /// A missing plain message without a gap so far. After a reconnect, the link reports the gap slightly later.
    missing_plain: Option<String>,
}

/// The promises that hold in this run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expectations {
    /// The position before the first message of a history is exact: the clock is not set back and reads are not
    /// refused.
    pub(super) has_exact_beginnings: bool,
    /// The loss of plain messages is reported.
    pub(super) reports_plain_loss: bool,
    /// Histories are complete and readable, so a client with a position resumes without a gap.
    pub(super) is_complete: bool,
    /// Every durable message stays stored.
    pub(super) keeps_histories: bool,
}

/// The answer to a subscription.
pub(super) struct Confirmation {
    pub(super) position: Position,
    pub(super) recovered: Option<bool>,
    pub(super) last: Option<u32>,
    /// The `last` of the request.
    pub(super) asked: u32,
    /// The number of publications when the frame was sent.
    pub(super) published: u64,
}

pub(super) type CheckResult = Result<(), String>;

impl Checker {
    /// Handles a confirmed subscription.
    pub(super) fn on_subscribed(
        &mut self,
        record: &ChannelRecord,
        expectations: Expectations,
        confirmation: Confirmation,
    ) -> CheckResult {
        self.check_last(record, expectations, &confirmation)?;
        let Confirmation { position, recovered, last, published, .. } = confirmation;
        self.awaited_last = (last.unwrap_or(0), published);
        if recovered.is_some() != self.position.is_some() {
            return Err(format!("asked to resume from {:?}, got recovered {recovered:?}", self.position));
        }
        if recovered == Some(true) && self.position != Some(position) {
            return Err(format!("resumes from {position}, not from {:?}", self.position));
        }
        let knows_a_message = self.position.is_some_and(|position| !position.is_beginning());
        if expectations.is_complete && knows_a_message && recovered == Some(false) {
            return Err(format!("does not resume from {:?}, though nothing was lost", self.position));
        }
        if recovered == Some(false) {
            // The client restarts at the position in the answer and may get later messages again.
            self.gap_reported = true;
            self.last = self.last.min(last_before(record, position, published)?);
        }
        if self.start.is_none() {
            self.start = Some(last_before(record, position, published)?);
            // Earlier publications may have positions after this one.
            self.gap_reported |= position.is_beginning() && !expectations.has_exact_beginnings;
        }
        self.is_subscribed = true;
        self.position = Some(position);
        (self.plain_from, self.last_plain, self.plain_gap_reported) = (published, 0, false);
        self.missing_plain = None;
        Ok(())
    }

    /// Checks how many of the last messages are announced: exactly as many as asked for and stored.
    fn check_last(
        &self,
        record: &ChannelRecord,
        expectations: Expectations,
        &Confirmation { position, last, asked, .. }: &Confirmation,
    ) -> CheckResult {
        let is_asked = asked > 0 && self.position.is_none();
        let given = match last {
            Some(given) if is_asked && given <= asked => given,
            None if !is_asked => return Ok(()),
            _ => return Err(format!("asked for the last {asked} from {:?}, got {last:?}", self.position)),
        };
        let is_older = |one: &RecordedPublication| one.position.is_some_and(|other| other <= position);
        let older = record.published.iter().rev().find(|one| is_older(one));
        match older.filter(|_| given < asked && expectations.keeps_histories) {
            None => Ok(()),
            Some(older) => {
                Err(format!("gives {given} of the last {asked}, though {} is stored", older.number))
            }
        }
    }

    /// The announced messages come before all others, and were published before they were announced.
    fn on_awaited_last(&mut self, number: u64, position: Option<Position>) -> CheckResult {
        let (awaited, published) = &mut self.awaited_last;
        if *awaited == 0 {
            return Ok(());
        }
        *awaited -= 1;
        match position {
            Some(_) if number <= *published => Ok(()),
            _ => Err(format!("{number} comes before the last messages that are announced")),
        }
    }

    /// Handles a recovering channel: no messages may arrive until the next state.
    pub(super) fn on_recovering(&self, position: Option<Position>) -> CheckResult {
        match position == self.position {
            true => Ok(()),
            false => Err(format!("recovers from {position:?} instead of {:?}", self.position)),
        }
    }

    pub(super) fn on_gap(&mut self, expectations: Expectations) -> CheckResult {
        if expectations.is_complete {
            return Err("a gap, though nothing was lost".to_owned());
        }
        self.gap_reported = true;
        self.plain_gap_reported = true;
        self.missing_plain = None;
        self.is_subscribed.then_some(()).ok_or_else(|| "a gap on a channel without a subscription".to_owned())
    }

    /// Handles a signal, which changes nothing.
    pub(super) fn on_signal(&self, is_of_another: bool) -> CheckResult {
        match (self.is_subscribed, is_of_another) {
            (true, true) => Ok(()),
            (false, _) => Err("a signal on a channel without a subscription".to_owned()),
            (_, false) => Err("a signal of the session itself".to_owned()),
        }
    }

    pub(super) fn on_left(&mut self) {
        self.is_subscribed = false;
        self.awaited_last = (0, 0);
    }

    pub(super) fn on_message(
        &mut self,
        record: &ChannelRecord,
        expectations: Expectations,
        number: u64,
        position: Option<Position>,
    ) -> CheckResult {
        let Some(start) = self.start.filter(|_| self.is_subscribed) else {
            return Err(format!("{number} arrives on a channel without a subscription"));
        };
        let published = record.of_number(number).ok_or_else(|| format!("{number} was never published"))?;
        if published.position != position {
            return Err(format!("{number} comes with {position:?} and has {:?}", published.position));
        }
        self.on_awaited_last(number, position)?;
        let Some(position) = position else { return self.on_plain(record, expectations, number) };
        if number <= self.last {
            return Err(format!("{number} ({position}) comes after {}", self.last));
        }
        self.check_missing(record, self.last.max(start), number)?;
        (self.last, self.gap_reported, self.position) = (number, false, Some(position));
        Ok(())
    }

    /// Fails if a required message is missing between two messages.
    fn check_missing(&self, record: &ChannelRecord, last: u64, number: u64) -> CheckResult {
        let knew_no_message = self.position.is_some_and(Position::is_beginning);
        let is_required = |retention| match retention {
            Retention::Kept => true,
            Retention::LostWithEnd => false,
            Retention::Deleted => !knew_no_message,
        };
        let mut between = record.between(last, number).filter(|one| one.position.is_some());
        match between.find(|one| !self.gap_reported && is_required(one.retention)) {
            None => Ok(()),
            Some(missing) => Err(format!("{} is missing before {number} without a gap", missing.number)),
        }
    }

    fn on_plain(&mut self, record: &ChannelRecord, expectations: Expectations, number: u64) -> CheckResult {
        let may_miss = std::mem::take(&mut self.plain_gap_reported) || !expectations.reports_plain_loss;
        let last = std::mem::replace(&mut self.last_plain, number);
        if number <= last {
            return Err(format!("{number} comes after {last}"));
        }
        // A slow replica may deliver messages that were published before the session connected to it.
        let missing = record.between(last.max(self.plain_from), number).next();
        if let Some(missing) = missing.filter(|_| record.kind == ChannelKind::Plain && !may_miss) {
            let failure = format!("{} is missing before {number} without a gap", missing.number);
            self.missing_plain.get_or_insert(failure);
        }
        Ok(())
    }

    /// Checks at the end of the run that the last message was received.
    pub(super) fn on_end(&self, record: &ChannelRecord) -> CheckResult {
        if self.awaited_last.0 > 0 {
            return Err(format!("{} of the last messages never came", self.awaited_last.0));
        }
        if let Some(missing_plain) = &self.missing_plain {
            return Err(missing_plain.clone());
        }
        let Some(last) = record.published.last() else { return Ok(()) };
        let seen = match last.position {
            Some(_) => self.last,
            None => self.last_plain,
        };
        if seen == last.number { Ok(()) } else { Err(format!("{} never came", last.number)) }
    }
}

/// The number of the last message that a client that starts at `position` does not get.
fn last_before(record: &ChannelRecord, position: Position, published: u64) -> Result<u64, String> {
    if !position.is_beginning() {
        let found = record.at(position).map(|one| one.number);
        return found.ok_or_else(|| format!("starts at {position}, which has no message"));
    }
    let is_later = |one: &&RecordedPublication| one.position.is_some_and(|other| other > position);
    let first = record.published.iter().find(is_later).map(|one| one.number);
    Ok(first.map_or(published, |first| published.min(first - 1)))
}
