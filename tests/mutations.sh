#!/usr/bin/env bash
# `make mutations`: switches off the rules of tests/mutations.txt, one at a time, in a copy of the tree, and runs the test
# named there. The test must fail. If it passes, or the file does not hold the text to be replaced exactly once, that counts
# as a failure.
#
# RULES=REGEX: only rules whose line it matches. The copy and its build stay in target/mutations, so that a second run
# builds only what has changed; the checkout itself is only read.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
work=$TARGET/mutations tree=$TARGET/mutations/tree listed=$ROOT/tests/mutations.txt
mkdir -p "$work/target"
exec 9>"$work/lock"
flock -n 9 || die "another make mutations works in $work"

# A rule is one index into all of these.
rules=() files=() olds=() news=() suites=() names=()
add() {
	[[ -n $rule$file$old$new$suite ]] || return 0
	[[ -n $rule && -n $file && -n $old && -n $suite ]] || die "$listed: \"$rule\" lacks its file, its test, or a line with -"
	if [[ $rule =~ ${RULES:-} ]]; then
		rules+=("$rule") files+=("$file") olds+=("${old%$'\n'}") news+=("${new%$'\n'}") suites+=("$suite") names+=("$name")
	fi
	rule='' file='' old='' new='' suite='' name=''
}
rule='' file='' old='' new='' suite='' name=''
while IFS= read -r line; do
	case $line in
	'rule '*) rule=${line#rule } ;;
	'file '*) file=${line#file } ;;
	'- '*) old+=${line#- }$'\n' ;;
	'+ '*) new+=${line#+ }$'\n' ;;
	# The SQL tests have no names below that of their file.
	'test '*) read -r _ suite name <<<"$line"; name=${name:-$suite} ;;
	'') add ;;
	'#'*) ;;
	*) die "$listed: what is \"$line\"?" ;;
	esac
done <"$listed"
add
((${#rules[@]})) || die "no rule matches RULES=${RULES:-}"

# Times are kept, so that what has not changed is not built again; but a run may have been killed in the middle of a change.
rm -rf "$tree"
mkdir "$tree"
tar -C "$ROOT" --exclude=./target --exclude=./.git -cf - . | tar -C "$tree" -xf -
(cd "$tree" && touch -- "${files[@]}")
[[ -e $work/target/venv || ! -e $TARGET/venv ]] || ln -s "$TARGET/venv" "$work/target/venv"
export CARGO_TARGET_DIR=$work/target PROFILE=dev
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The tests of crates; the others are suites of tests/run.sh.
of_crate='^(client|pushdown)(/|$)'
# run SUITES NAME: prints what the tests say; of one test or, without a name, of all.
run() {
	if [[ $1 =~ $of_crate ]]; then
		local part=(--lib)
		[[ $1 != */* ]] || part=(--test "${1#*/}")
		(cd "$tree" && timeout -k 10 900 cargo test -p "acumatica-${1%%/*}" "${part[@]}" -- ${2:+--exact "$2"}) || true
	else
		(cd "$tree" && ${2:+env TEST_NAME="$2"} timeout -k 60 1800 env TESTS="$1" tests/run.sh) || true
	fi
} </dev/null 2>&1
# says ok|failed NAME: whether the log has a line with this outcome of a test.
says() {
	local line="not ok - $2" cargo="test $2 ... FAILED"
	if [[ $1 == ok ]]; then line="ok - $2" cargo="test $2 ... ok"; fi
	grep -qxF -e "$line" -e "$cargo" "$work/log"
}

say "${#rules[@]} rules; first all of their tests as things are"
of_crates=$(printf '%s\n' "${suites[@]}" | grep -E "$of_crate" | sort -u || true)
others=$(printf '%s\n' "${suites[@]}" | grep -Ev "$of_crate" | sort -u | tr '\n' ' ' || true)
{
	for suite in $of_crates; do run "$suite" ''; done
	[[ -z ${others% } ]] || run "${others% }" ''
} >"$work/log"
for at in "${!rules[@]}"; do
	says ok "${names[at]}" || {
		tail -n 50 "$work/log"
		die "${names[at]} of ${suites[at]} does not pass, or does not exist, before anything is changed"
	}
done

failed=0 table=''
for at in "${!rules[@]}"; do
	path=$tree/${files[at]} begun=$SECONDS
	text=$(cat "$path" && echo .) # a substitution loses the newlines at the end
	text=${text%.}
	before=${text%%"${olds[at]}"*} after=${text#*"${olds[at]}"}
	if [[ $before == "$text" ]]; then
		outcome='the text to be replaced is not there'
	elif [[ $after == *"${olds[at]}"* ]]; then
		outcome='the text to be replaced is there more than once'
	else
		printf '%s' "$before${news[at]}$after" >"$path"
		run "${suites[at]}" "${names[at]}" >"$work/log"
		printf '%s' "$text" >"$path"
		if says failed "${names[at]}"; then
			outcome=fails
		elif says ok "${names[at]}"; then
			outcome=survived
		else
			outcome='did not compile, or not come to its test'
			tail -n 30 "$work/log"
		fi
	fi
	if [[ $outcome == fails ]]; then
		printf 'ok - %s: fails %s (%d s)\n' "${rules[at]}" "${names[at]}" $((SECONDS - begun))
	else
		printf 'not ok - %s: %s (%s of %s)\n' "${rules[at]}" "$outcome" "${names[at]}" "${files[at]}"
		failed=$((failed + 1))
	fi
	table+="${rules[at]}|${files[at]}|${suites[at]} ${names[at]##*::}|$outcome"$'\n'
done

printf '\n'
printf '%s' "rule|file|test|without the rule"$'\n'"$table" | column -t -s '|'
printf '\nin %d s\n%d passed, %d failed\n' "$SECONDS" $((${#rules[@]} - failed)) "$failed"
((failed == 0))
