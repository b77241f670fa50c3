//! Transactions as a state machine: which call is valid when, and what is possible after an error.

mod types;

pub use types::{CallOutcome, Step, TransactionId, TransactionRefusal, TransactionStatus};

/// One producer's transactions, one after another.
///
/// It does no I/O and knows no record. The driver passes it the application's commands and the outcomes of the backend's
/// calls, and asks it which call to make next.
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
/// | getters | [`status`], [`admits`], [`is_draining`], [`is_aborting`], [`is_settled`], [`failed`], … | `&self` |
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
/// - A commit whose outcome is unknown is *in doubt*. Only a second call of it can tell, so nothing else is called, and
///   nothing begins until a holder of the transaction has seen the outcome.
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
/// [`status`]: Transaction::status
/// [`admits`]: Transaction::admits
/// [`is_aborting`]: Transaction::is_aborting
/// [`is_settled`]: Transaction::is_settled
/// [`is_draining`]: Transaction::is_draining
/// [`failed`]: Transaction::failed
///
/// # Example
///
/// ```
/// use aioproducer_core::{TransactionStatus, Step, Transaction, CallOutcome};
///
/// let mut machine = Transaction::new();
/// let id = machine.begin()?;
/// for step in [Step::Init, Step::Begin] {
///     assert_eq!(machine.poll_call(0), Some(step));
///     machine.handle_answer(CallOutcome::Done);
/// }
/// assert!(machine.admits());
///
/// machine.commit(id)?;
/// assert_eq!(machine.poll_call(3), None, "three records have no outcome yet");
/// assert_eq!(machine.poll_call(0), Some(Step::Commit));
/// machine.handle_answer(CallOutcome::Done);
/// assert_eq!(machine.status(id), TransactionStatus::Committed);
/// machine.acknowledge(id);
/// assert_eq!(machine.status(id), TransactionStatus::Over);
/// # Ok::<(), aioproducer_core::TransactionRefusal>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    phase: Phase,
    /// A call is out: returned and not answered.
    out: bool,
    /// Initialisation was asked for, with or without a transaction to follow.
    init: bool,
    /// The holder of the transaction that `phase` is about.
    holder: Option<TransactionId>,
    /// The future holder of the next one.
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
    /// To be aborted, by its holder.
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

    /// Asks for initialisation. Nothing happens if it is initialised.
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

    /// Asks for a transaction, of which the caller is the holder. Initialisation comes first, and the abort of an abandoned
    /// one.
    ///
    /// # Errors
    /// [`TransactionRefusal`]: all but [`TransactionRefusal::MustAbort`] and [`TransactionRefusal::Over`].
    pub fn begin(&mut self) -> Result<TransactionId, TransactionRefusal> {
        self.check_alive()?;
        if self.wanted.is_some() || self.holder.is_some() {
            return Err(TransactionRefusal::AlreadyOpen);
        }
        match self.phase {
            // Abandoned after its commit was called: a new holder has to look at the outcome.
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

    /// Asks for the commit of the transaction, or for a second call of it.
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

    /// Asks for the abort of the transaction, or for a second call of it.
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

    /// The holder of a committed transaction acknowledges the commit.
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
        // A failed one whose commit was called may have no holder.
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

    /// The outcome of the call that [`Transaction::poll_call`] returned. Without such a call it has no effect.
    pub fn handle_answer(&mut self, outcome: CallOutcome) {
        if !core::mem::take(&mut self.out) {
            return;
        }
        self.phase = match (self.phase, outcome) {
            (Phase::Fatal | Phase::Ended, _) => return,
            (_, CallOutcome::Fatal) => Phase::Fatal,
            (Phase::Initializing, CallOutcome::Done) => {
                self.init = false;
                Phase::Ready
            }
            (Phase::Initializing, _) => {
                self.init = false;
                self.wanted = None;
                Phase::Fresh
            }
            (Phase::Beginning, CallOutcome::Done) if self.holder.is_none() || self.closed => Phase::Aborting,
            (Phase::Beginning, CallOutcome::Done) => Phase::Open,
            (Phase::Beginning, CallOutcome::Abort) => {
                self.holder = None;
                Phase::Aborting
            }
            (Phase::Beginning, _) => {
                self.holder = None;
                Phase::Ready
            }
            (Phase::Committing, CallOutcome::Done) => Phase::Committed,
            (Phase::Committing, CallOutcome::Retry) => Phase::InDoubt,
            (Phase::Committing, _) => self.failed_phase(),
            (Phase::Aborting, CallOutcome::Done) => Phase::Aborted,
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
    pub fn handle_error(&mut self, id: TransactionId, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Fatal => self.handle_fatal(),
            // A part of the transaction failed and cannot be repeated.
            CallOutcome::Abort if self.holder == Some(id) && matches!(self.phase, Phase::Open | Phase::Draining) => {
                self.phase = self.failed_phase();
            }
            _ => {}
        }
    }

    /// The phase of a transaction that can no longer be committed: its holder has to abort it, or a close does.
    const fn failed_phase(&self) -> Phase {
        if self.closed { Phase::Aborting } else { Phase::Failed }
    }

    /// The producer met an error that it cannot recover from.
    pub fn handle_fatal(&mut self) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Fatal;
        }
    }

    /// The backend has ended: a call that is out gets no answer.
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

    /// The status of the transaction, for its holder.
    #[must_use]
    pub fn status(&self, id: TransactionId) -> TransactionStatus {
        if self.wanted == Some(id) {
            return TransactionStatus::Beginning;
        }
        if self.holder != Some(id) {
            return TransactionStatus::Over;
        }
        match self.phase {
            Phase::Beginning => TransactionStatus::Beginning,
            Phase::Open => TransactionStatus::Open,
            Phase::Draining | Phase::Committing => TransactionStatus::Committing,
            Phase::InDoubt => TransactionStatus::InDoubt,
            Phase::Committed => TransactionStatus::Committed,
            Phase::Failed => TransactionStatus::Failed,
            Phase::Aborting | Phase::Aborted => TransactionStatus::Aborting,
            Phase::AbortFailed => TransactionStatus::AbortFailed,
            Phase::Fresh | Phase::Initializing | Phase::Ready | Phase::Fatal | Phase::Ended => TransactionStatus::Over,
        }
    }

    /// Whether records may be written.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the transaction's records should be sent without delay: its commit waits for them.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Whether the driver should take back records that were not handed off.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        matches!(self.phase, Phase::Aborting | Phase::AbortFailed | Phase::Aborted)
    }

    /// Whether a closing producer has no call to wait for.
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
