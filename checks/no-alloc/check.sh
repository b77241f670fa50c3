#!/bin/sh
# The machine as a static library for C: it runs, and neither an allocator nor a panic is in it. Then the check itself:
# it must fail for a core that was broken on purpose.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
CARGO_TARGET_DIR=$target/no-alloc
export CARGO_TARGET_DIR
work=$CARGO_TARGET_DIR/work

fail() {
    echo "FAIL $*" >&2
    exit 1
}

# build NAME CORE LIB: the program $work/NAME/program, of main.c and the crate with the source LIB on the core in CORE.
build() {
    rm -rf "$work/$1"
    mkdir -p "$work/$1/src"
    cp "$3" "$work/$1/src/lib.rs"
    cp "$root/Cargo.lock" "$work/$1/"
    sed "s|path = \"../../core\"|path = \"$2\"|" "$here/Cargo.toml" >"$work/$1/Cargo.toml"
    cargo build --quiet --release --manifest-path "$work/$1/Cargo.toml" || return 1
    cc -O1 -o "$work/$1/program" "$here/main.c" "$CARGO_TARGET_DIR/release/libno_alloc.a"
}

# An archive holds all of Rust's own core library; what counts is what the linker took from it into the program.
check() {
    build "$@" || { echo "it does not build and link without an allocator"; return 1; }
    # The panic handler does not return.
    timeout 10 "$work/$1/program" || { echo "the program ended with $?"; return 1; }
    nm "$work/$1/program" >"$work/$1/symbols" || { echo "nm cannot read the program"; return 1; }
    grep -q ' T records_ended$' "$work/$1/symbols" || { echo "the machine is not in the program"; return 1; }
    ! grep -E '__rust_(no_)?(alloc|dealloc|realloc)|__r[dg]l?_|[ _](malloc|calloc|realloc|free|aligned_alloc|posix_memalign)(@|$)' \
        "$work/$1/symbols" || { echo "an allocator is in it"; return 1; }
    ! grep -E 'core9panicking|panic_bounds_check|panic_fmt|rust_begin_unwind|unwrap_failed|expect_failed' \
        "$work/$1/symbols" || { echo "a panic is in it"; return 1; }
}

# A copy of core outside of the workspace: what it inherits is written out.
copy_core() {
    rm -rf "$work/$1-core"
    mkdir -p "$work/$1-core"
    cp -r "$root/core/src" "$work/$1-core/src"
    {
        printf '[package]\nname = "aioproducer-core"\nversion = "0.1.0"\nedition = "2024"\n'
        printf '[features]\nalloc = []\n[dependencies]\n'
        grep '^heapless = ' "$root/Cargo.toml"
    } >"$work/$1-core/Cargo.toml"
    cp "$here/src/lib.rs" "$work/$1-lib.rs"
}

must_pass() {
    said=$(check "$1" "$work/$1-core" "$work/$1-lib.rs" 2>&1) || fail "self-test: $1: $said"
    echo "PASS self-test: $1 is green"
}

must_fail() {
    ! cmp -s "$work/$1-core/src/$3" "$root/core/src/$3" || fail "self-test: $1 changed nothing"
    if said=$(check "$1" "$work/$1-core" "$work/$1-lib.rs" 2>&1); then
        fail "self-test: $1 was not noticed"
    fi
    case $said in
    *"$2"*) echo "PASS self-test: $1 is red: $2" ;;
    *) fail "self-test: $1 is red for another reason: $said" ;;
    esac
}

check core "$root/core" "$here/src/lib.rs" || fail "see above"
echo "PASS runs: a C program brings records to each of their ends"
echo "PASS no allocator: no symbol of one is in the program"
echo "PASS no panic: nothing of core::panicking is in the program"

copy_core an-unchanged-copy
must_pass an-unchanged-copy

vec='extern crate alloc;\n/// Broken on purpose.\npub fn broken(n: u32) -> usize { core::hint::black_box(alloc::vec![1_u8; n as usize]).len() }\nmod batch;'
copy_core an-allocation
sed -i "s|^mod batch;|$vec|" "$work/an-allocation-core/src/lib.rs"
must_fail an-allocation "no global memory allocator" lib.rs

copy_core an-allocation-that-links
sed -i "s|^mod batch;|$vec|" "$work/an-allocation-that-links-core/src/lib.rs"
sed -i 's|let mut ended = 0;|let mut ended = u32::from(aioproducer_core::broken(topic) == 0);|' \
    "$work/an-allocation-that-links-lib.rs"
cat >>"$work/an-allocation-that-links-lib.rs" <<'RUST'
unsafe extern "C" {
    fn malloc(size: usize) -> *mut u8;
    fn free(at: *mut u8);
}
struct Malloc;
unsafe impl core::alloc::GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: core::alloc::Layout) -> *mut u8 {
        unsafe { malloc(layout.size()) }
    }
    unsafe fn dealloc(&self, at: *mut u8, _: core::alloc::Layout) {
        unsafe { free(at) }
    }
}
#[global_allocator]
static MALLOC: Malloc = Malloc;
RUST
must_fail an-allocation-that-links "an allocator is in it" lib.rs

copy_core a-panic
sed -i 's|self.in_use < self.slots.capacity()|{ assert!(self.in_use <= self.slots.capacity()); & }|' "$work/a-panic-core/src/pool.rs"
must_fail a-panic "a panic is in it" pool.rs
