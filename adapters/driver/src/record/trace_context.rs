//! W3C trace context, as it travels in a record's headers.

use std::fmt;
use std::str::FromStr;

/// Where a record belongs in a distributed trace: what the headers `traceparent` and `tracestate` say, by the W3C's
/// recommendation [Trace Context](https://www.w3.org/TR/trace-context/). [`Record::trace_context`] sets the two.
///
/// ```
/// use aioproducer_driver::{Record, record::TraceContext};
///
/// let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// let context = context.with_state("vendor=opaque")?;
/// assert_eq!(context.span_id(), 0xb7ad_6b71_6920_3331);
/// assert!(context.is_sampled());
///
/// let record = Record::to("orders").payload("one").trace_context(&context);
/// assert_eq!(record.headers()[0].name(), "traceparent");
/// # Ok::<(), aioproducer_driver::error::TraceContextError>(())
/// ```
///
/// [`Record::trace_context`]: crate::Record::trace_context
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    /// Empty if there is none.
    state: String,
}

/// The caller may have recorded the trace.
const SAMPLED: u8 = 1;

/// The flags that have a meaning: sampled, and that the trace's id is random. Others are not passed on.
const KNOWN_FLAGS: u8 = SAMPLED | 2;

/// The length of version 00: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LEN: usize = 55;

/// Members of a trace state, at most.
const MEMBERS: usize = 32;

impl TraceContext {
    /// A context of these numbers, without a state. Of `flags`, bit 0 says that the trace is sampled and bit 1 that its
    /// id is random.
    ///
    /// # Errors
    /// [`TraceContextError::ZeroTraceId`], [`TraceContextError::ZeroSpanId`].
    pub fn new(trace_id: u128, span_id: u64, flags: u8) -> Result<Self, TraceContextError> {
        if trace_id == 0 {
            return Err(TraceContextError::ZeroTraceId);
        }
        if span_id == 0 {
            return Err(TraceContextError::ZeroSpanId);
        }
        Ok(Self { trace_id, span_id, flags: flags & KNOWN_FLAGS, state: String::new() })
    }

    /// The context with a trace state, in the form of the header `tracestate`. Several such headers are one, joined by
    /// commas. If a state is rejected here, the trace goes on without it.
    ///
    /// # Errors
    /// [`TraceContextError::State`] with the member that is invalid, [`TraceContextError::TooManyMembers`].
    pub fn with_state(mut self, state: &str) -> Result<Self, TraceContextError> {
        let blank = |c| c == ' ' || c == '\t';
        let members = state.split(',').map(|member| member.trim_matches(blank)).filter(|member| !member.is_empty());
        let mut keys = Vec::new();
        let mut checked = String::with_capacity(state.len());
        for (index, member) in members.enumerate() {
            let refused = || TraceContextError::State { index };
            if index == MEMBERS {
                return Err(TraceContextError::TooManyMembers);
            }
            let (key, value) = member.split_once('=').ok_or_else(refused)?;
            if !is_key(key) || !is_value(value) || keys.contains(&key) {
                return Err(refused());
            }
            keys.push(key);
            if index > 0 {
                checked.push(',');
            }
            checked.push_str(member);
        }
        self.state = checked;
        Ok(self)
    }

    /// The trace's number, never 0.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The number of the span that the record comes from, never 0.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// The flags, see [`TraceContext::new`].
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the caller may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The value of the header `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.to_string()
    }

    /// The value of the header `tracestate`, `None` if there is none.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        (!self.state.is_empty()).then_some(self.state.as_str())
    }
}

/// The value of the header `traceparent`, in version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Parses a header `traceparent`. Of a version that is yet to come it reads what version 00 has.
impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let parent = text.as_bytes();
        let version = digits(parent, 0, 2)?;
        let ends = match parent.get(LEN) {
            None => true,
            Some(more) => version != 0 && *more == b'-',
        };
        if version == 0xff || !ends {
            return Err(TraceContextError::Parent);
        }
        for at in [2, 35, 52] {
            if parent.get(at) != Some(&b'-') {
                return Err(TraceContextError::Parent);
            }
        }
        let (trace_id, span_id) = (digits(parent, 3, 32)?, digits(parent, 36, 16)?);
        Self::new(trace_id, span_id as u64, digits(parent, 53, 2)? as u8)
    }
}

/// The number of `len` hexadecimal digits at `at`, which are lower case.
fn digits(text: &[u8], at: usize, len: usize) -> Result<u128, TraceContextError> {
    let digits = text.get(at..at + len).ok_or(TraceContextError::Parent)?;
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Ok(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Ok(number << 4 | u128::from(digit - b'a' + 10)),
        _ => Err(TraceContextError::Parent),
    })
}

/// A simple key, or one of a tenant: `tenant@system`.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        None => is_name(key, 256, false),
        Some((tenant, system)) => is_name(tenant, 241, true) && is_name(system, 14, false),
    }
}

fn is_name(name: &str, limit: usize, digit_first: bool) -> bool {
    let begins = |c: u8| c.is_ascii_lowercase() || (digit_first && c.is_ascii_digit());
    let goes_on = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-*/".contains(&c);
    name.len() <= limit && name.bytes().next().is_some_and(begins) && name.bytes().all(goes_on)
}

/// Printable ASCII without `,` and `=`; members are trimmed, so it does not end with a blank.
fn is_value(value: &str) -> bool {
    let fits = |c: u8| matches!(c, b' '..=b'~') && !matches!(c, b',' | b'=');
    (1..=256).contains(&value.len()) && value.bytes().all(fits)
}

/// Why a text or a number is no trace context.
///
/// ```
/// use aioproducer_driver::record::{TraceContext, TraceContextError};
///
/// assert_eq!(TraceContext::new(1, 0, 0), Err(TraceContextError::ZeroSpanId));
/// assert_eq!("hello".parse::<TraceContext>(), Err(TraceContextError::Parent));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceContextError {
    /// It is not in the form of the header `traceparent`.
    Parent,
    /// The trace's number is 0.
    ZeroTraceId,
    /// The span's number is 0.
    ZeroSpanId,
    /// A member of the trace state is not `key=value`, or a key is there twice.
    State {
        /// Its place among the members that are not empty.
        index: usize,
    },
    /// The trace state has more than 32 members.
    TooManyMembers,
}

impl fmt::Display for TraceContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent => f.write_str("the trace parent is not of the form 00-<32 digits>-<16 digits>-<2 digits>"),
            Self::ZeroTraceId => f.write_str("the trace id is zero"),
            Self::ZeroSpanId => f.write_str("the span id is zero"),
            Self::State { index } => {
                write!(f, "member {index} of the trace state is malformed, or its key a duplicate")
            }
            Self::TooManyMembers => write!(f, "the trace state has more than {MEMBERS} members"),
        }
    }
}

impl std::error::Error for TraceContextError {}

#[cfg(all(test, not(interleave)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Record;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(text: &str) -> Result<TraceContext, TraceContextError> {
        text.parse()
    }

    #[test]
    fn a_trace_parent_is_read_as_the_recommendation_says() {
        let context = parse(PARENT).unwrap();
        assert_eq!(context.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((context.span_id(), context.flags()), (0xb7ad_6b71_6920_3331, 1));
        assert_eq!(context.traceparent(), PARENT);
        // Unknown flags are not passed on.
        assert_eq!(parse(&PARENT.replace("-01", "-ff")).unwrap().flags(), 3);
        // A later version may say more.
        assert_eq!(parse(&PARENT.replacen("00", "cc", 1)).unwrap(), context);
        assert_eq!(parse(&format!("{}-what-comes", PARENT.replacen("00", "01", 1))).unwrap(), context);
    }

    #[test]
    fn what_is_no_trace_parent_is_refused() {
        let refused = [
            String::new(),
            PARENT[..54].to_owned(),
            format!("{PARENT}-"),
            format!("{PARENT}0"),
            format!("{}0", PARENT.replacen("00", "01", 1)),
            PARENT.replacen("00", "ff", 1),
            PARENT.to_uppercase(),
            PARENT.replace("0af", "0ag"),
            PARENT.replace("-b7", "_b7"),
            PARENT.replace("-01", "+01"),
            PARENT.replace("0af", "ä\0"),
        ];
        for text in refused {
            assert_eq!(parse(&text), Err(TraceContextError::Parent), "{text:?}");
        }
        let zero = PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        assert_eq!(parse(&zero), Err(TraceContextError::ZeroTraceId));
        let zero = PARENT.replace("b7ad6b7169203331", &"0".repeat(16));
        assert_eq!(parse(&zero), Err(TraceContextError::ZeroSpanId));
    }

    #[test]
    fn a_trace_state_is_checked_member_by_member() {
        let with = |state: &str| parse(PARENT).unwrap().with_state(state);
        let state = |text: &str| with(text).unwrap().tracestate().map(str::to_owned);
        assert_eq!(state(" a=1 ,, b_-*/=x y\t,"), Some("a=1,b_-*/=x y".to_owned()));
        assert_eq!(state("0tenant@system=v"), Some("0tenant@system=v".to_owned()));
        assert_eq!(state(" , "), None);
        for wrong in ["b", "b=", "=1", "B=1", "0b=1", "b=ä", "b=1=2", "t@=1", "@s=1", "t@abcdefghijklmno=1", "a=2"] {
            assert_eq!(with(&format!("a=1,{wrong}")), Err(TraceContextError::State { index: 1 }), "{wrong}");
        }
        assert!(with(&format!("{}={}", "k".repeat(256), "v".repeat(256))).is_ok());
        assert!(with(&format!("{}=v", "k".repeat(257))).is_err());
        assert!(with(&format!("k={}", "v".repeat(257))).is_err());
        let many = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert!(with(&many(32)).is_ok());
        assert_eq!(with(&many(33)), Err(TraceContextError::TooManyMembers));
    }

    #[test]
    fn a_record_has_one_trace_context() {
        let first = parse(PARENT).unwrap().with_state("a=1").unwrap();
        let second = TraceContext::new(1, 2, 0).unwrap();
        let record = Record::to("t").header("other", "x").trace_context(&first).trace_context(&second);
        let names: Vec<_> = record.headers().iter().map(|header| header.name()).collect();
        assert_eq!(names, ["other", "traceparent"]);
        assert_eq!(record.headers()[1].value(), Some(second.traceparent().as_bytes()));
        let record = record.trace_context(&first);
        assert_eq!(record.headers()[2].value(), Some(&b"a=1"[..]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, flags in 0..4_u8) {
            let context = TraceContext::new(trace_id, span_id, flags).unwrap();
            prop_assert_eq!(parse(&context.traceparent()), Ok(context));
        }

        #[test]
        fn whatever_is_read_does_not_panic(text in "[0-9a-f-]{0,60}|.{0,60}") {
            if let Ok(context) = parse(&text) {
                prop_assert_eq!(parse(&context.traceparent()), Ok(context.clone()));
                prop_assert!(context.trace_id() != 0 && context.span_id() != 0);
            }
            if let Ok(context) = TraceContext::new(1, 1, 0).unwrap().with_state(&text) {
                let state = context.tracestate().unwrap_or_default();
                prop_assert_eq!(TraceContext::new(1, 1, 0).unwrap().with_state(state), Ok(context.clone()));
            }
        }
    }
}
