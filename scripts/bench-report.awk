# SPDX-License-Identifier: GPL-2.0
#
# awk -v csv=FILE -f scripts/bench-report.awk CEILINGS STOCK PATCHED: the last two have
# lines "FIGURE: VALUE UNIT" of a kernel each. Prints the table, writes csv, and
# ends with 1 when a ceiling does not hold.

FNR == 1 { file++ }

file == 1 && /^[^#]/ {
	n++
	figure[n] = $1
	kind[n] = $2
	limit[n] = $3
	other[n] = ""
	short[n] = ""
	for (i = 4; i <= NF; i++) {
		if ($i == "short")
			short[n] = $(++i)
		else
			other[n] = $i
	}
	next
}

file > 1 && !/\/pages: / && match($0, /: /) {
	name = substr($0, 1, RSTART - 1)
	split(substr($0, RSTART + 2), part, " ")
	value[file, name] = part[1]
	unit[name] = substr($0, RSTART + 2 + length(part[1]) + 1)
	if (!(name in seen)) {
		seen[name] = 1
		order[++names] = name
	}
}

# In a clock that counts instructions, a nanosecond is one.
function unit_of(name,	u)
{
	u = unit[name]
	sub(/^ns/, "instr.", u)
	return u
}

function need(f, name)
{
	if (value[f, name] == "") {
		print "bench: no figure " name (f == 2 ? " of the stock kernel" : "") > "/dev/stderr"
		missing = 1
		return 0
	}
	return value[f, name]
}

# The most (the least) that ceiling i allows with l in place of its limit
function bound(i, l)
{
	if (kind[i] == "plus")
		return need(2, figure[i]) + l
	if (kind[i] == "times" || kind[i] == "least")
		return need(2, figure[i]) * l
	if (kind[i] == "most")
		return l
	if (kind[i] == "over")
		return need(3, other[i]) + l
	if (kind[i] == "like")
		return need(3, other[i]) * l
	if (kind[i] == "as")
		return need(2, other[i]) * l
	print "bench: ceiling of " figure[i] ": no kind " kind[i] > "/dev/stderr"
	missing = 1
}

function holds(i, l,	v)
{
	v = need(3, figure[i])
	if (kind[i] == "least")
		return v + 0 >= bound(i, l)
	# what is printed has one digit
	return v + 0 <= bound(i, l) + 0.05 * (kind[i] == "plus")
}

function describe(i)
{
	if (kind[i] == "plus")
		return "stock + " limit[i]
	if (kind[i] == "times")
		return limit[i] " x stock"
	if (kind[i] == "least")
		return "at least " limit[i] " x stock"
	if (kind[i] == "most")
		return limit[i]
	if (kind[i] == "over")
		return other[i] " + " limit[i]
	if (kind[i] == "like")
		return limit[i] " x " other[i]
	return limit[i] " x " other[i] " on stock"
}

END {
	printf "%-34s %14s %14s %8s  %s\n", "", "stock", "patched", "ratio", "unit"
	print "figure,unit,stock,patched,ratio" > csv
	for (i = 1; i <= names; i++) {
		name = order[i]
		s = value[2, name]
		p = value[3, name]
		ratio = s + 0 > 0 && p != "" ? sprintf("%.4f", p / s) : ""
		printf "%-34s %14s %14s %8s  %s\n", name, s, p, ratio, unit_of(name)
		printf "%s,%s,%s,%s,%s\n", name, unit_of(name), s, p, ratio > csv
	}

	printf "\n%-26s %12s %12s  %-46s\n", "ceiling of", "is", "allowed", ""
	for (i = 1; i <= n; i++) {
		verdict = "met"
		if (value[3, figure[i]] == "") {
			verdict = "NOT MEASURED"
			bad++
		} else if (!holds(i, limit[i])) {
			verdict = "NOT MET"
			if (short[i] != "" && holds(i, short[i])) {
				verdict = "short of it, as known"
				known++
			} else {
				bad++
			}
		}
		printf "%-26s %12s %12.1f  %-46s %s\n", figure[i],
			value[3, figure[i]], bound(i, limit[i]), describe(i), verdict
	}
	printf "%d ceilings: %d met, %d known to be short, %d not met\n", n,
		n - known - bad, known, bad
	exit missing || bad ? 1 : 0
}
