#!/usr/bin/env bash
# Checks the licence of every crate in the library and the simulator against the list in deny.toml. Works offline and needs
# only cargo.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"

declare -A allowed=()
while IFS= read -r name; do allowed[$name]=1; done \
	< <(sed -n '/^allow = \[/,/^]/s/^ *"\(.*\)",$/\1/p' deny.toml)

# An SPDX expression as arithmetic: every licence becomes 1 or 0, OR becomes ||, AND becomes &&.
permitted() {
	local word expr='' name=''
	# "MIT/Apache-2.0" is how OR was written once.
	local words=${1//\// OR }
	words=${words//\(/ ( }
	words=${words//\)/ ) }
	# A name is one word, or three with WITH: gather it until an operator or the end comes.
	for word in $words END; do
		case $word in
		OR | AND | '(' | ')' | END)
			if [[ -n $name ]]; then expr+=${allowed[$name]:-0}; fi
			name=''
			;;&
		OR) expr+='||' ;;
		AND) expr+='&&' ;;
		'(' | ')') expr+=$word ;;
		END) ;;
		*) name+=${name:+ }$word ;;
		esac
	done
	[[ -n $expr ]] && ((expr))
}

bad=0 count=0
while IFS=$'\t' read -r licence crate; do
	count=$((count + 1))
	if permitted "$licence"; then continue; fi
	echo "licence not allowed: ${licence:-none} ($crate)"
	bad=1
done < <(cargo tree --workspace --all-features -e normal,build \
	--prefix none --format $'{l}\t{p}' | sed "s, ([*])$,,; /^$/d" | sort -u)
((count > 0)) || die "cargo tree listed no crate"
((bad == 0)) && echo "$count crates, all under allowed licences"
exit "$bad"
