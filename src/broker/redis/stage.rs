//! How far the link is, and the connection for commands that belongs to it: one value, so that nobody can come
//! upon a link that is proven and has no connection, or the other way round, while it is made or taken down.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::super::recovery::Interrupted;
use super::loss::Loss;

/// How far the link is. `C` is a connection for commands: cheap to clone, and used from any thread.
#[derive(Debug, Clone)]
pub(super) enum Stage<C> {
    /// The first connection is being made.
    Connecting,
    /// Connected; subscribing, or waiting for the first probe to be heard.
    Proving {
        /// What reads and publishes go over.
        line: Line<C>,
        /// What ended the attempt before this one, which may end this one too.
        before: Option<Loss>,
    },
    /// The latest probe was heard, so reads and publishes go over this.
    Ready(Line<C>),
    /// Lost, or never made; the next attempt comes.
    Down(Loss),
    /// Shut down.
    Stopped,
}

/// A connection for commands, told apart from the one that replaces it.
#[derive(Debug, Clone)]
pub(in super::super) struct Line<C> {
    pub(super) commands: C,
    number: u64,
}

/// The stage as it is now, for all who ask and all who wait. The link's thread sets it.
pub(super) struct Stages<C> {
    stage: watch::Sender<Stage<C>>,
    lines: AtomicU64,
}

impl<C> Stage<C> {
    fn line(&self) -> Option<&Line<C>> {
        match self {
            Self::Proving { line, .. } | Self::Ready(line) => Some(line),
            Self::Connecting | Self::Down(_) | Self::Stopped => None,
        }
    }

    fn line_mut(&mut self) -> Option<&mut Line<C>> {
        match self {
            Self::Proving { line, .. } | Self::Ready(line) => Some(line),
            Self::Connecting | Self::Down(_) | Self::Stopped => None,
        }
    }
}

impl<C: Clone> Stages<C> {
    pub(super) fn new() -> Self {
        Self { stage: watch::Sender::new(Stage::Connecting), lines: AtomicU64::new(0) }
    }

    /// The stage as it is now. It must not be kept: the link waits for it.
    pub(super) fn now(&self) -> watch::Ref<'_, Stage<C>> {
        self.stage.borrow()
    }

    /// The line of the link, proven or not, if it is up.
    pub(super) fn line(&self) -> Option<Line<C>> {
        self.stage.borrow().line().cloned()
    }

    /// Whether the link has been proven and not lost since.
    pub(super) fn is_proven(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Ready(_))
    }

    /// The link is connected, and commands go over this.
    pub(super) fn connected(&self, commands: C) {
        let line = self.line_of(commands);
        self.stage.send_modify(|stage| {
            let before = match std::mem::replace(stage, Stage::Connecting) {
                Stage::Down(loss) => Some(loss),
                _ => None,
            };
            *stage = Stage::Proving { line, before };
        });
    }

    /// From now on commands go over this, if the link is up.
    pub(super) fn replace_line(&self, commands: C) {
        let line = self.line_of(commands);
        self.stage.send_if_modified(|stage| stage.line_mut().map(|old| *old = line).is_some());
    }

    fn line_of(&self, commands: C) -> Line<C> {
        Line { commands, number: self.lines.fetch_add(1, Ordering::Relaxed) }
    }

    /// A probe was heard. Whether it was the first one of this link.
    pub(super) fn proven(&self) -> bool {
        self.stage.send_if_modified(|stage| {
            let Stage::Proving { line, .. } = stage else { return false };
            *stage = Stage::Ready(line.clone());
            true
        })
    }

    /// There is no link any more, and with it no line. Returns how far it was.
    pub(super) fn taken_down(&self, loss: Option<Loss>) -> Stage<C> {
        self.stage.send_replace(loss.map_or(Stage::Stopped, Stage::Down))
    }

    /// Returns once the link is proven, with its line.
    pub(super) async fn proven_line(&self) -> Line<C> {
        let mut stages = self.stage.subscribe();
        loop {
            if let Stage::Ready(line) = &*stages.borrow_and_update() {
                return line.clone();
            }
            // Its sender is our own.
            let _ = stages.changed().await;
        }
    }

    /// Returns once commands do not go over this line any more.
    pub(super) async fn gone(&self, line: &Line<C>) {
        let is_gone = |stage: &Stage<C>| stage.line().is_none_or(|now| now.number != line.number);
        // Its sender is our own.
        let _ = self.stage.subscribe().wait_for(is_gone).await;
    }

    /// Does something over a line, unless that is lost meanwhile. If it fails because of the line it rings `suspect`,
    /// and waits until the line is gone, no longer than to `deadline`.
    pub(super) async fn over<T>(
        &self,
        line: &Line<C>,
        deadline: Instant,
        suspect: &Notify,
        attempt: impl Future<Output = Result<T, Interrupted>>,
    ) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            outcome = attempt => {
                if outcome.is_err() {
                    suspect.notify_one();
                    let _ = timeout_at(deadline, self.gone(line)).await;
                }
                outcome
            }
            // An answer would not come any more.
            () = self.gone(line) => Err(Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::task::Poll;
    use std::thread;
    use std::time::Duration;

    use futures_util::poll;
    use tokio::runtime::Builder;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Reads over one proven line after the other, as a hub does; the last one answers.
    async fn read(stages: &Stages<u32>, last: u32) -> u32 {
        let suspect = Notify::new();
        loop {
            let line = stages.proven_line().await;
            let number = line.commands;
            let answer = async { if number == last { Ok(number) } else { pending().await } };
            if let Ok(answer) = stages.over(&line, far(), &suspect, answer).await {
                return answer;
            }
        }
    }

    /// The stage and the connection were two values once. Whoever was woken between the two steps of taking them away
    /// found a link that was proven and had no connection, and told its client of a gap instead of reading again.
    #[test]
    fn a_read_that_the_loss_of_the_link_interrupts_waits_for_the_next_link() {
        run(async {
            let stages = Stages::new();
            let mut read = pin!(read(&stages, 2));
            assert!(poll!(&mut read).is_pending());
            stages.connected(1);
            assert!(poll!(&mut read).is_pending());
            assert!(stages.proven());
            assert!(poll!(&mut read).is_pending());
            stages.taken_down(Some(Loss::Closed));
            assert!(poll!(&mut read).is_pending());
            stages.connected(2);
            assert!(poll!(&mut read).is_pending());
            assert!(stages.proven());
            assert_eq!(poll!(&mut read), Poll::Ready(2));
        });
    }

    #[test]
    fn however_often_the_link_comes_and_goes_meanwhile_a_read_is_made() {
        const LAST: u32 = 20_000;
        let stages = Stages::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                for line in 1..=LAST {
                    stages.taken_down(Some(Loss::Closed));
                    stages.connected(line);
                    stages.proven();
                }
            });
            assert_eq!(run(read(&stages, LAST)), LAST);
        });
    }

    #[test]
    fn whoever_reads_over_a_line_that_fails_reports_it_and_waits_until_it_is_replaced() {
        run(async {
            let (stages, suspect) = (Stages::new(), Notify::new());
            stages.connected("broken");
            stages.proven();
            let line = stages.proven_line().await;
            let mut reading = pin!(stages.over(&line, far(), &suspect, async { Err::<(), _>(Interrupted) }));
            assert!(poll!(&mut reading).is_pending());
            suspect.notified().await;
            stages.replace_line("whole");
            assert_eq!(poll!(&mut reading), Poll::Ready(Err(Interrupted)));
            assert_eq!(stages.proven_line().await.commands, "whole");
        });
    }

    #[test]
    fn nobody_waits_beyond_the_deadline_for_a_line_to_be_replaced() {
        run(async {
            let (stages, suspect) = (Stages::new(), Notify::new());
            stages.connected(());
            stages.proven();
            let line = stages.proven_line().await;
            let soon = Instant::now() + Duration::from_millis(1);
            let reading = stages.over(&line, soon, &suspect, async { Err::<(), _>(Interrupted) });
            assert_eq!(reading.await, Err(Interrupted));
        });
    }

    #[test]
    fn there_is_a_line_while_the_link_is_up() {
        let stages = Stages::new();
        let line = || stages.line().map(|line| line.commands);
        assert_eq!(line(), None);
        stages.replace_line(1);
        assert_eq!(line(), None, "there is nothing to be replaced");
        stages.connected(2);
        assert_eq!((line(), stages.is_proven()), (Some(2), false));
        assert!(stages.proven() && !stages.proven(), "only the first probe is news");
        stages.replace_line(3);
        assert_eq!((line(), stages.is_proven()), (Some(3), true));
        assert!(matches!(stages.taken_down(Some(Loss::Closed)), Stage::Ready(_)));
        assert_eq!((line(), stages.is_proven()), (None, false));
        stages.connected(4);
        assert!(matches!(stages.taken_down(None), Stage::Proving { before: Some(Loss::Closed), .. }));
        assert!(matches!(*stages.now(), Stage::Stopped));
    }
}
