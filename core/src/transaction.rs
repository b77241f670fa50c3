//! Transactions as a state machine: what may be called when, and what is left after an error.

mod words;

pub use words::{Standing, Step, TransactionId, TransactionRefusal, Verdict};

/// One producer's transactions, one after another.
///
/// It does no I/O and knows no record: the driver tells it what the application wants and what became of a backend's
/// calls, and asks it which call is next.
///
/// # The contract
///
/// Four kinds of method:
///
/// | kind | methods | |
/// | --- | --- | --- |
/// | commands | [`init`], [`begin`], [`commit`], [`abort`], [`acknowledge`], [`abandon`], [`adopt`], [`close`] | what the application wants |
/// | inputs | [`handle_answer`], [`handle_failed`], [`handle_error`], [`handle_fatal`], [`handle_end`] | what became of it |
/// | outputs | [`poll_call`] | what to call next |
/// | getters | [`standing`], [`admits`], [`is_draining`], [`is_aborting`], [`is_settled`], [`failed`], … | `&self` |
///
/// After any command or input, and when the last outstanding record has its outcome, call [`poll_call`] until `None`.
/// Each [`Step`] that it returns is a call to make, and ends with [`handle_answer`]; there is never a second one out.
///
/// While [`admits`] says no, the driver accepts no record. While [`is_aborting`] says yes, it takes back what it has not
/// handed off, which fails as purged.
///
/// # What holds
///
/// - A commit is not called before every record of the transaction has its outcome, nor if one of them failed.
/// - Nothing begins before every record of the transaction before has its outcome: none can slip into the next.
/// - A commit that did not say what became of it is *in doubt*. Only calling it again can tell, so nothing else is called,
///   and nothing begins until somebody who holds the transaction has seen the outcome.
/// - A transaction that its holder abandons is aborted; if its commit was called, it is in doubt instead.
/// - Each transaction has its own [`TransactionId`]; commands with another's have no effect.
/// - The same calls with the same arguments give the same answers. Each does a constant amount of work, none allocates
///   and none panics.
///
/// [`init`]: Transaction::init
/// [`begin`]: Transaction::begin
/// [`commit`]: Transaction::commit
/// [`abort`]: Transaction::abort
/// [`acknowledge`]: Transaction::acknowledge
/// [`abandon`]: Transaction::abandon
/// [`adopt`]: Transaction::adopt
/// [`close`]: Transaction::close
/// [`handle_answer`]: Transaction::handle_answer
/// [`handle_failed`]: Transaction::handle_failed
/// [`handle_error`]: Transaction::handle_error
/// [`handle_end`]: Transaction::handle_end
/// [`handle_fatal`]: Transaction::handle_fatal
/// [`poll_call`]: Transaction::poll_call
/// [`standing`]: Transaction::standing
/// [`admits`]: Transaction::admits
/// [`is_aborting`]: Transaction::is_aborting
/// [`is_settled`]: Transaction::is_settled
/// [`is_draining`]: Transaction::is_draining
/// [`failed`]: Transaction::failed
///
/// # Example
///
/// ```
/// use aioproducer_core::{Standing, Step, Transaction, Verdict};
///
/// let mut machine = Transaction::new();
/// let id = machine.begin()?;
/// for step in [Step::Init, Step::Begin] {
///     assert_eq!(machine.poll_call(0), Some(step));
///     machine.handle_answer(Verdict::Done);
/// }
/// assert!(machine.admits());
///
/// machine.commit(id)?;
/// assert_eq!(machine.poll_call(3), None, "three records have no outcome yet");
/// assert_eq!(machine.poll_call(0), Some(Step::Commit));
/// machine.handle_answer(Verdict::Done);
/// assert_eq!(machine.standing(id), Standing::Committed);
/// machine.acknowledge(id);
/// assert_eq!(machine.standing(id), Standing::Over);
/// # Ok::<(), aioproducer_core::TransactionRefusal>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    phase: Phase,
    /// A call was returned and not answered.
    out: bool,
    /// Somebody wants to be initialised, whether or not a transaction is to follow.
    init: bool,
    /// Who holds the transaction that `phase` is about.
    holder: Option<TransactionId>,
    /// Who wants the next one.
    wanted: Option<TransactionId>,
    next: u64,
    failed: u64,
    closed: bool,
    /// The backend is gone.
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not initialised.
    Fresh,
    Initializing,
    Ready,
    Beginning,
    Open,
    /// To be committed when the records have their outcomes.
    Draining,
    /// The commit is called or is to be.
    Committing,
    InDoubt,
    Committed,
    /// To be aborted. Whether by its holder or by nobody is the holder's decision.
    Failed,
    /// The abort is called or is to be.
    Aborting,
    AbortFailed,
    /// Aborted; records of it may still be without an outcome.
    Aborted,
    Fatal,
    Ended,
}

impl Default for Transaction {
    fn default() -> Self {
        Self::new()
    }
}

impl Transaction {
    /// Nothing was called yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Fresh,
            out: false,
            init: false,
            holder: None,
            wanted: None,
            next: 0,
            failed: 0,
            closed: false,
            ended: false,
        }
    }

    /// Wants to be initialised; nothing happens if it is.
    ///
    /// # Errors
    /// [`TransactionRefusal::Fatal`] and [`TransactionRefusal::Closed`].
    pub fn init(&mut self) -> Result<(), TransactionRefusal> {
        self.check_alive()?;
        self.init = self.phase == Phase::Fresh || self.phase == Phase::Initializing;
        Ok(())
    }

    /// Whether it is initialised.
    #[must_use]
    pub const fn is_initialized(&self) -> bool {
        !matches!(self.phase, Phase::Fresh | Phase::Initializing)
    }

    /// Whether it is being initialised, or will be at the next [`Transaction::poll_call`].
    #[must_use]
    pub fn is_initializing(&self) -> bool {
        let asked = self.init || self.wanted.is_some();
        self.phase == Phase::Initializing || self.phase == Phase::Fresh && asked
    }

    /// Wants a transaction, which is its caller's. It is initialised first, and an abandoned one before is aborted first.
    ///
    /// # Errors
    /// [`TransactionRefusal`]: all but [`TransactionRefusal::MustAbort`] and [`TransactionRefusal::Over`].
    pub fn begin(&mut self) -> Result<TransactionId, TransactionRefusal> {
        self.check_alive()?;
        if self.wanted.is_some() || self.holder.is_some() {
            return Err(TransactionRefusal::AlreadyOpen);
        }
        match self.phase {
            // Abandoned after its commit was called: somebody has to look.
            Phase::Committing | Phase::InDoubt | Phase::Committed | Phase::Failed => {
                return Err(TransactionRefusal::InDoubt);
            }
            Phase::AbortFailed => self.phase = Phase::Aborting,
            _ => {}
        }
        let id = self.new_id();
        self.wanted = Some(id);
        Ok(id)
    }

    /// Wants the transaction committed, or its commit called again.
    ///
    /// # Errors
    /// [`TransactionRefusal::MustAbort`], [`TransactionRefusal::Over`], [`TransactionRefusal::Fatal`], and
    /// [`TransactionRefusal::Closed`] if there is no backend left to call.
    pub fn commit(&mut self, id: TransactionId) -> Result<(), TransactionRefusal> {
        match self.held(id)? {
            Phase::Open => self.phase = Phase::Draining,
            Phase::InDoubt if self.ended => return Err(TransactionRefusal::Closed),
            Phase::InDoubt => self.phase = Phase::Committing,
            Phase::Draining | Phase::Committing | Phase::Committed => {}
            _ => return Err(TransactionRefusal::MustAbort),
        }
        Ok(())
    }

    /// Wants the transaction aborted, or its abort called again.
    ///
    /// # Errors
    /// [`TransactionRefusal::InDoubt`] if its commit was called, [`TransactionRefusal::Over`] and
    /// [`TransactionRefusal::Fatal`].
    pub fn abort(&mut self, id: TransactionId) -> Result<(), TransactionRefusal> {
        match self.held(id)? {
            Phase::Committing | Phase::InDoubt | Phase::Committed => return Err(TransactionRefusal::InDoubt),
            Phase::Aborting | Phase::Aborted => {}
            _ => self.phase = Phase::Aborting,
        }
        Ok(())
    }

    /// The holder of a committed transaction takes note.
    pub fn acknowledge(&mut self, id: TransactionId) {
        if self.holder == Some(id) && self.phase == Phase::Committed {
            self.holder = None;
            self.phase = Phase::Ready;
        }
    }

    /// The holder of a transaction is gone. It is aborted, unless its commit was called.
    pub fn abandon(&mut self, id: TransactionId) {
        if self.wanted == Some(id) {
            self.wanted = None;
        }
        if self.holder == Some(id) {
            self.holder = None;
            if matches!(self.phase, Phase::Open | Phase::Draining | Phase::Failed) {
                self.phase = Phase::Aborting;
            }
        }
    }

    /// Takes hold of an abandoned transaction whose commit was called; `None` if there is none.
    pub fn adopt(&mut self) -> Option<TransactionId> {
        let called = matches!(self.phase, Phase::Committing | Phase::InDoubt | Phase::Committed | Phase::Failed);
        if !called || self.holder.is_some() {
            return None;
        }
        let id = self.new_id();
        self.holder = Some(id);
        Some(id)
    }

    /// Begins nothing from now on, and aborts what is open. A commit that is under way goes on.
    pub fn close(&mut self) {
        self.closed = true;
        self.init = false;
        self.wanted = None;
        // A failed one whose commit was called may be nobody's.
        if matches!(self.phase, Phase::Open | Phase::Failed | Phase::AbortFailed) {
            self.phase = Phase::Aborting;
        }
    }

    /// The next call to make, when `outstanding` records have no outcome yet; `None` if there is nothing to do.
    pub fn poll_call(&mut self, outstanding: usize) -> Option<Step> {
        if self.out {
            return None;
        }
        let idle = outstanding == 0;
        if self.phase == Phase::Aborted && idle {
            self.phase = Phase::Ready;
            self.holder = None;
        }
        if self.phase == Phase::Draining && idle {
            self.phase = if self.failed == 0 { Phase::Committing } else { self.failed_phase() };
        }
        let step = match self.phase {
            Phase::Fresh if self.init || self.wanted.is_some() => {
                self.phase = Phase::Initializing;
                Step::Init
            }
            Phase::Ready if idle && self.wanted.is_some() => {
                self.phase = Phase::Beginning;
                self.holder = self.wanted.take();
                self.failed = 0;
                Step::Begin
            }
            Phase::Committing => Step::Commit,
            Phase::Aborting => Step::Abort,
            _ => return None,
        };
        self.out = true;
        Some(step)
    }

    /// What the call that [`Transaction::poll_call`] returned came to. Without such a call it has no effect.
    pub fn handle_answer(&mut self, verdict: Verdict) {
        if !core::mem::take(&mut self.out) {
            return;
        }
        self.phase = match (self.phase, verdict) {
            (Phase::Fatal | Phase::Ended, _) => return,
            (_, Verdict::Fatal) => Phase::Fatal,
            (Phase::Initializing, Verdict::Done) => {
                self.init = false;
                Phase::Ready
            }
            (Phase::Initializing, _) => {
                self.init = false;
                self.wanted = None;
                Phase::Fresh
            }
            (Phase::Beginning, Verdict::Done) if self.holder.is_none() || self.closed => Phase::Aborting,
            (Phase::Beginning, Verdict::Done) => Phase::Open,
            (Phase::Beginning, Verdict::Abort) => {
                self.holder = None;
                Phase::Aborting
            }
            (Phase::Beginning, _) => {
                self.holder = None;
                Phase::Ready
            }
            (Phase::Committing, Verdict::Done) => Phase::Committed,
            (Phase::Committing, Verdict::Retry) => Phase::InDoubt,
            (Phase::Committing, _) => self.failed_phase(),
            (Phase::Aborting, Verdict::Done) => Phase::Aborted,
            (Phase::Aborting, _) => {
                self.wanted = None;
                Phase::AbortFailed
            }
            (phase, _) => phase,
        };
    }

    /// A record of the transaction was not delivered.
    pub fn handle_failed(&mut self) {
        if matches!(self.phase, Phase::Open | Phase::Draining) {
            self.failed += 1;
        }
    }

    /// A call within the transaction failed, that of sending offsets for one.
    pub fn handle_error(&mut self, id: TransactionId, verdict: Verdict) {
        match verdict {
            Verdict::Fatal => self.handle_fatal(),
            // A failed part of the transaction that nobody can make up for any more.
            Verdict::Abort if self.holder == Some(id) && matches!(self.phase, Phase::Open | Phase::Draining) => {
                self.phase = self.failed_phase();
            }
            _ => {}
        }
    }

    /// What a transaction comes to that cannot be committed any more: its holder has to abort it, or a close does.
    const fn failed_phase(&self) -> Phase {
        if self.closed { Phase::Aborting } else { Phase::Failed }
    }

    /// The producer met an error that it cannot recover from.
    pub fn handle_fatal(&mut self) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Fatal;
        }
    }

    /// The backend has ended: what was called is not answered any more.
    pub fn handle_end(&mut self) {
        self.closed = true;
        self.ended = true;
        self.wanted = None;
        self.out = false;
        self.phase = match self.phase {
            Phase::Fatal => Phase::Fatal,
            Phase::Committing | Phase::InDoubt => Phase::InDoubt,
            Phase::Committed => Phase::Committed,
            _ => Phase::Ended,
        };
    }

    /// How the transaction stands, for its holder.
    #[must_use]
    pub fn standing(&self, id: TransactionId) -> Standing {
        if self.wanted == Some(id) {
            return Standing::Beginning;
        }
        if self.holder != Some(id) {
            return Standing::Over;
        }
        match self.phase {
            Phase::Beginning => Standing::Beginning,
            Phase::Open => Standing::Open,
            Phase::Draining | Phase::Committing => Standing::Committing,
            Phase::InDoubt => Standing::InDoubt,
            Phase::Committed => Standing::Committed,
            Phase::Failed => Standing::Failed,
            Phase::Aborting | Phase::Aborted => Standing::Aborting,
            Phase::AbortFailed => Standing::AbortFailed,
            Phase::Fresh | Phase::Initializing | Phase::Ready | Phase::Fatal | Phase::Ended => Standing::Over,
        }
    }

    /// Whether records may be written.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the transaction's records are to be sent without delay, since its commit waits for them.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Whether records that were not handed off are to be taken back.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        matches!(self.phase, Phase::Aborting | Phase::AbortFailed | Phase::Aborted)
    }

    /// Whether nothing is under way that a closing producer should wait for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self.phase, Phase::Beginning | Phase::Draining | Phase::Committing | Phase::Aborting | Phase::Aborted)
    }

    /// Whether the producer met an error that it cannot recover from.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.phase == Phase::Fatal
    }

    /// Whether the backend has ended.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// How many records of the transaction were not delivered.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    fn new_id(&mut self) -> TransactionId {
        self.next = self.next.wrapping_add(1);
        TransactionId(self.next)
    }

    fn check_alive(&self) -> Result<(), TransactionRefusal> {
        match self.phase {
            Phase::Fatal => Err(TransactionRefusal::Fatal),
            _ if self.closed => Err(TransactionRefusal::Closed),
            _ => Ok(()),
        }
    }

    /// The phase of a transaction that can be ended.
    fn held(&self, id: TransactionId) -> Result<Phase, TransactionRefusal> {
        match self.phase {
            Phase::Fatal => Err(TransactionRefusal::Fatal),
            Phase::Beginning | Phase::Ended => Err(TransactionRefusal::Over),
            phase if self.holder == Some(id) => Ok(phase),
            _ => Err(TransactionRefusal::Over),
        }
    }
}
