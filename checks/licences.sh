#!/usr/bin/env bash
# Each dependency's licence is among those that deny.toml allows, and each comes from the one registry. For machines without
# cargo-deny, which checks the same and more. An expression that it cannot read counts as not allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

licences() { # what `cargo tree` says in lines of a package, a tab and its licence, on standard input; prints what is not allowed
    awk -F '\t' '
        NR == FNR { # deny.toml
            if (/^allow = \[/) inside = 1
            else if (/^\]/) inside = 0
            else if (inside && match($0, /"[^"]+"/)) allowed[substr($0, RSTART + 1, RLENGTH - 2)] = 1
            next
        }
        {
            expression = $2
            gsub(/\//, " OR ", expression)
            fine = expression != ""
            terms = split(expression, term, / +AND +/)
            for (t = 1; t <= terms; t++) {
                gsub(/[()]/, "", term[t])
                any = 0
                choices = split(term[t], choice, / +OR +/)
                for (c = 1; c <= choices; c++) any = any || (choice[c] in allowed)
                fine = fine && any
            }
            if (!fine) print "  " $1 ": " ($2 == "" ? "no licence" : $2)
        }' deny.toml -
}

# The check itself has to turn red.
red() { # the licence
    [ -n "$(printf 'planted v1.0.0\t%s\n' "$1" | licences)" ] || { echo "FAIL self-test: \"$1\" was allowed" >&2; exit 1; }
}
red GPL-3.0-only
red 'MIT AND GPL-3.0-only'
red 'GPL-3.0-only OR AGPL-3.0-only'
red ''
[ -z "$(printf 'planted v1.0.0\t(MIT OR GPL-3.0-only) AND Apache-2.0\n' | licences)" ] ||
    { echo "FAIL self-test: a choice that has an allowed licence was not allowed" >&2; exit 1; }

tree=$(cargo tree --quiet --workspace --locked --all-features --target all --edges normal,build,dev --prefix none \
    --format $'{p}\t{l}' | sed 's/ (\*)$//; /^$/d' | sort -u)
count=$(wc -l <<<"$tree")
[ "$count" -gt 50 ] || { echo "FAIL cargo tree shows only $count packages" >&2; exit 1; }
bad=$(licences <<<"$tree")
[ -z "$bad" ] || { printf 'FAIL deny.toml does not allow the licence of\n%s\n' "$bad" >&2; exit 1; }
echo "PASS licences: those of all $count packages are allowed by deny.toml"

sources=$(sed -n 's/^source = //p' Cargo.lock | sort -u)
[[ $(wc -l <<<"$sources") == 1 && $sources == '"registry+'* ]] ||
    { printf 'FAIL dependencies come from more than one registry:\n%s\n' "$sources" >&2; exit 1; }
echo "PASS sources: all dependencies come from one registry"
