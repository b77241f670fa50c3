//! Compares the table of error codes with librdkafka's own.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::{ptr, slice};

use aioproducer_core::backend::ErrorCode;
use rdkafka_sys as sys;

/// `rd_kafka_err_desc`, with the error as a number.
#[repr(C)]
struct Raw {
    code: i32,
    name: *const std::ffi::c_char,
    description: *const std::ffi::c_char,
}

const _: () = assert!(size_of::<Raw>() == size_of::<sys::rd_kafka_err_desc>());

/// The codes that librdkafka describes: number, name, description.
fn described() -> BTreeMap<i32, (String, String)> {
    let (mut entries, mut count) = (ptr::null(), 0);
    // SAFETY: both pointers are valid for writing.
    unsafe { sys::rd_kafka_get_err_descs(&raw mut entries, &raw mut count) };
    // SAFETY: a constant array and its length; `Raw` has the layout of its entries.
    let entries = unsafe { slice::from_raw_parts(entries.cast::<Raw>(), count) };
    let text = |text| {
        // SAFETY: a constant C string.
        unsafe { CStr::from_ptr(text) }.to_str().expect("ASCII").to_owned()
    };
    // The array has gaps, and marks for the range of librdkafka's own codes.
    let entries = entries.iter().filter(|entry| !entry.name.is_null() && !entry.description.is_null());
    entries.map(|entry| (entry.code, (text(entry.name), text(entry.description)))).collect()
}

/// `_TIMED_OUT` is `LocalTimedOut`, and `REQUEST_TIMED_OUT` is `RequestTimedOut`.
fn renamed(name: &str) -> String {
    let name = name.strip_prefix('_').map_or_else(|| name.to_owned(), |own| format!("LOCAL_{own}"));
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(word).collect()
}

#[test]
fn s39_codes_are_librdkafkas_by_number_name_and_description() {
    let theirs: BTreeMap<_, _> =
        described().into_iter().map(|(code, (name, description))| (code, (renamed(&name), description))).collect();
    let own = |text: Option<&str>| text.expect("it is in the table").to_owned();
    let ours: BTreeMap<_, _> =
        ErrorCode::all().map(|code| (code.number(), (own(code.name()), own(code.description())))).collect();
    assert!(theirs.len() > 150, "{}", theirs.len());
    assert_eq!(ours, theirs);
    assert_eq!(ours[&ErrorCode::LocalMsgTimedOut.number()].0, "LocalMsgTimedOut");
}
