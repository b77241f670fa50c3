//! C strings.

use std::ffi::{CStr, c_char};

/// A copy of a C string, `None` if the pointer is null. Invalid UTF-8 is replaced.
///
/// # Safety
/// `string` is null or a C string.
pub(super) unsafe fn text(string: *const c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned())
}
