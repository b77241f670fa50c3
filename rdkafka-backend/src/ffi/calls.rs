//! Broker calls: transactions and credentials.

use std::ffi::{CString, c_int};

use aioproducer_core::backend::{CallError, Credentials, Group, GroupOffset};
use rdkafka_sys as sys;

use super::client::Client;
use super::text::text;
use crate::failure;

unsafe extern "C" {
    /// The bindings' function, with the code as a number: brokers may send codes that the bindings' enum lacks.
    #[link_name = "rd_kafka_error_code"]
    fn rd_kafka_error_number(error: *const sys::rd_kafka_error_t) -> c_int;
}

impl<R> Client<R> {
    pub(crate) fn init_transactions(&self, timeout_ms: i32) -> Result<(), CallError> {
        // SAFETY: the client is alive.
        let error = unsafe { sys::rd_kafka_init_transactions(self.ptr(), timeout_ms) };
        // SAFETY: the error belongs to us.
        unsafe { self.outcome(error) }
    }

    pub(crate) fn begin_transaction(&self) -> Result<(), CallError> {
        // SAFETY: the client is alive.
        let error = unsafe { sys::rd_kafka_begin_transaction(self.ptr()) };
        // SAFETY: the error belongs to us.
        unsafe { self.outcome(error) }
    }

    pub(crate) fn commit_transaction(&self, timeout_ms: i32) -> Result<(), CallError> {
        // SAFETY: the client is alive.
        let error = unsafe { sys::rd_kafka_commit_transaction(self.ptr(), timeout_ms) };
        // SAFETY: the error belongs to us.
        unsafe { self.outcome(error) }
    }

    /// Purges the records that librdkafka has not sent, and waits for those in flight.
    pub(crate) fn abort_transaction(&self, timeout_ms: i32) -> Result<(), CallError> {
        // SAFETY: the client is alive.
        let error = unsafe { sys::rd_kafka_abort_transaction(self.ptr(), timeout_ms) };
        // SAFETY: the error belongs to us.
        unsafe { self.outcome(error) }
    }

    pub(crate) fn send_offsets(
        &self,
        offsets: &[GroupOffset],
        group: &Group,
        timeout_ms: i32,
    ) -> Result<(), CallError> {
        let list = List::new(offsets)?;
        let group = GroupMetadata::new(group)?;
        // SAFETY: the client, the list and the group are alive; the call copies what it keeps.
        let error = unsafe { sys::rd_kafka_send_offsets_to_transaction(self.ptr(), list.0, group.0, timeout_ms) };
        // SAFETY: the error belongs to us.
        unsafe { self.outcome(error) }
    }

    /// Does not block.
    pub(crate) fn set_sasl_credentials(&self, credentials: &Credentials) -> Result<(), CallError> {
        self.context().sinks.add_secret(credentials.password());
        let user = c_string(credentials.user(), "the user name contains a NUL byte")?;
        let password = c_string(credentials.password(), "the password contains a NUL byte")?;
        // SAFETY: the client is alive; the call copies both.
        let error = unsafe { sys::rd_kafka_sasl_set_credentials(self.ptr(), user.as_ptr(), password.as_ptr()) };
        // SAFETY: the error belongs to us.
        unsafe { self.outcome(error) }
    }
}

impl<R> Client<R> {
    /// The result of a call, without secrets. Destroys `error`.
    ///
    /// # Safety
    /// `error` is null or belongs to the caller.
    unsafe fn outcome(&self, error: *mut sys::rd_kafka_error_t) -> Result<(), CallError> {
        // SAFETY: by this function's contract.
        let outcome = unsafe { outcome(error) };
        outcome.map_err(|error| {
            let shown = self.context().sinks.hide(error.reason().to_owned());
            error.with_reason(shown)
        })
    }
}

/// The result of a call. Destroys `error`.
///
/// # Safety
/// `error` is null or belongs to the caller.
unsafe fn outcome(error: *mut sys::rd_kafka_error_t) -> Result<(), CallError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is valid.
    let code = unsafe { rd_kafka_error_number(error) };
    // SAFETY: as above.
    let reason = unsafe { sys::rd_kafka_error_string(error) };
    // SAFETY: a C string that lives as long as the error.
    let reason = unsafe { text(reason) }.unwrap_or_default();
    // SAFETY: the error is valid.
    let retriable = unsafe { sys::rd_kafka_error_is_retriable(error) } != 0;
    // SAFETY: as above.
    let requires_abort = unsafe { sys::rd_kafka_error_txn_requires_abort(error) } != 0;
    // SAFETY: as above.
    let fatal = unsafe { sys::rd_kafka_error_is_fatal(error) } != 0;
    // SAFETY: destroyed once.
    unsafe { sys::rd_kafka_error_destroy(error) };
    let error = failure::call(code, &reason).with_retriable(retriable);
    Err(error.with_requires_abort(requires_abort).with_fatal(fatal))
}

/// `value` as a C string. The error does not show the value.
fn c_string(value: &str, otherwise: &'static str) -> Result<CString, CallError> {
    CString::new(value).map_err(|_| failure::call(failure::INVALID_ARGUMENT, otherwise))
}

/// A list of offsets.
struct List(*mut sys::rd_kafka_topic_partition_list_t);

impl List {
    fn new(offsets: &[GroupOffset]) -> Result<Self, CallError> {
        let count = c_int::try_from(offsets.len()).unwrap_or(c_int::MAX);
        // SAFETY: the function has no preconditions.
        let list = Self(unsafe { sys::rd_kafka_topic_partition_list_new(count) });
        for GroupOffset { topic, partition, offset, .. } in offsets {
            let topic = c_string(topic, "the topic name contains a NUL byte")?;
            // SAFETY: the list belongs to us; the name is copied.
            let entry = unsafe { sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), *partition) };
            // SAFETY: the new entry is valid until the next one is added.
            unsafe { (*entry).offset = *offset };
        }
        Ok(list)
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

/// A consumer group and its member.
pub(super) struct GroupMetadata(pub(super) *mut sys::rd_kafka_consumer_group_metadata_t);

impl GroupMetadata {
    fn new(group: &Group) -> Result<Self, CallError> {
        let id = c_string(&group.id, "the group id contains a NUL byte")?;
        let member = c_string(group.member.as_deref().unwrap_or_default(), "the member id contains a NUL byte")?;
        let instance = group.instance.as_deref();
        let instance = instance.map(|name| c_string(name, "the group instance id contains a NUL byte")).transpose()?;
        let (id, member) = (id.as_ptr(), member.as_ptr());
        let instance = instance.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        let generation = group.generation.unwrap_or(-1);
        // SAFETY: C strings, which are copied; the last one may be null.
        let group = unsafe { sys::rd_kafka_consumer_group_metadata_new_with_genid(id, generation, member, instance) };
        Ok(Self(group))
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) };
    }
}
