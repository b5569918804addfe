# Counts what a suite printed: our own lines and cargo's summaries. Prints "passed failed skipped".
/^ok - / { passed++ }
/^not ok - / { failed++ }
/^skip - / { skipped++ }
/^test result: / {
	for (i = 2; i <= NF; i++) {
		if ($i ~ /^passed;?$/) passed += $(i - 1)
		if ($i ~ /^failed;?$/) failed += $(i - 1)
		if ($i ~ /^ignored;?$/) skipped += $(i - 1)
	}
}
END { print passed + 0, failed + 0, skipped + 0 }
