# Bugs that are planted in a copy of the sources, for scripts that show that tests find them.
#
# A script sets `origin`, the folder of the sources, `copy`, that of the copy, and `only`. It defines `run`, which fails if the tests
# do, and `noticed NAME OUTPUT SECONDS`, which says by what. Bugs that do not have `only` in their name are
# left out.
count=0
missed=0

# planted NAME FILE CHANGE [ARGUMENT...]: `run ARGUMENT...` has to fail when sed's CHANGE is made in FILE of the copy.
planted() {
    name=$1 file=$2 change=$3
    shift 3
    case $name in *"$only"*) ;; *) return 0 ;; esac
    count=$((count + 1))
    sed -i "$change" "$copy/$file"
    if cmp -s "$copy/$file" "$origin/$file"; then
        echo "FAIL planted: $name: it changed nothing in $file" >&2
        missed=$((missed + 1))
        return 0
    fi
    begin=$(date +%s)
    if said=$(run "$@"); then
        echo "FAIL planted: $name: no test did notice" >&2
        missed=$((missed + 1))
    elif ! noticed "$name" "$said" $(($(date +%s) - begin)); then
        # It does not compile, or ends before a test has failed.
        echo "FAIL planted: $name: $said" >&2
        missed=$((missed + 1))
    fi
    # With a time of its own, so that it is compiled again.
    cat "$origin/$file" >"$copy/$file"
}

# Ends the script: some bug was planted, and none was missed.
planted_all() {
    if [ "$count" = 0 ]; then
        echo "FAIL planted: no bug has \"$only\" in its name" >&2
        exit 1
    fi
    [ "$missed" = 0 ] || { echo "FAIL planted: $missed of $count bugs were missed" >&2; exit 1; }
    echo "PASS planted: $count of $count bugs were noticed"
}
