# SPDX-License-Identifier: GPL-2.0
#
# The picture of scripts/run-report. Wants dir, kernels, limit (MiB), batch and
# ring (pages), provider, memory (MiB) and hold (pages). One kernel: the acts side
# by side. Two: the kernels side by side, the acts below each other. Upper panel
# memory, lower panel pool pages, or where the memory of a provider is.

nkernels = words(kernels)
file(k, a) = sprintf("%s/%s/%s.dat", dir, word(kernels, k), word("keep unmap", a))
is_stock(k) = word(kernels, k)[1:5] eq "stock"
kernel_title(k) = is_stock(k) ? "stock 7.3" : word(kernels, k)
provided = provider ne "page"
act_title(a) = provided ? (a == 1 ? \
	sprintf("1: hold %g MiB of them, give all back", hold / 256.0) : \
	sprintf("2: give back each %d pages (%g MiB)", batch, batch / 256.0)) : \
	a == 1 ? "1: keep all that was mapped" : \
	sprintf("2: unmap each %d pages (%g MiB)", batch, batch / 256.0)
max(x, y) = x > y ? x : y

# In pixels: heads of the picture and of an act, a panel, the space below it
head = nkernels == 1 ? 5 : 45
act_head = 75
panel_height = 200
below = 75
act_height = act_head + 2 * panel_height + below + 45
height = head + act_height * nkernels
set terminal svg size 1000, height font "sans-serif,13" background "white"
set output dir . "/report.svg"
set datafile missing "nan"

unset key
set border 3 lc rgb "#888888"
set tics nomirror out scale 0.5 textcolor rgb "#444444"
set xtics font ",11"
set ytics font ",11"
set grid ytics lt 1 lw 0.5 lc rgb "#e4e4e4"
set style fill solid noborder

# Memory of the container
c_netmem = "#8fcfbd"
c_current = "#1b4f72"
c_sock = "#e08e2b"
c_limit = "#c0392b"
c_hole = "#f2b3aa"
# Pages of the pool
c_lent = c_netmem
c_in_use = "#6aa5cf"
c_cached = "#ccd5d9"
# Memory of a provider
c_provider = "#d4d3ea"

# Both kernels get the same scales, each act its own.
array mtop[2]
array ptop[2]
array left[4]
xmax = 0
do for [a = 1:2] {
	mtop[a] = a == 1 ? limit * 1.2 : 0
	ptop[a] = 0
	do for [k = 1:nkernels] {
		stats file(k, a) using 1 nooutput name "S_"
		xmax = max(xmax, S_max)
		stats file(k, a) using 2 nooutput name "S_"
		mtop[a] = max(mtop[a], S_max * 1.25)
		stats file(k, a) using 5 nooutput name "S_"
		mtop[a] = max(mtop[a], S_max * 1.15)
		stats file(k, a) using 6 nooutput name "S_"
		ptop[a] = max(ptop[a], S_max * 1.25)
		stats file(k, a) using 10 nooutput name "S_"
		left[2 * k + a - 2] = S_max
	}
	if (provided) {
		mtop[a] = limit * 1.2
		ptop[a] = memory * 1.25
	}
}
set xrange [0:xmax]

set multiplot
if (nkernels == 2) {
	do for [k = 1:2] {
		set label 100 + k kernel_title(k) . " kernel" center font ",18" \
			textcolor rgb "#222222" \
			at screen 0.28 + 0.49 * (k - 1), screen 1 - 25.0 / height
	}
}

do for [panel = 0:(nkernels * 4 - 1)] {
	col = panel / (2 * nkernels) + 1
	row = panel % (2 * nkernels)
	k = nkernels == 1 ? 1 : col
	a = nkernels == 1 ? col : row / 2 + 1
	f = file(k, a)
	do for [i = 1:20] {
		unset label i
	}
	unset arrow

	y = head + (row / 2) * act_height + act_head + \
		(row % 2) * (panel_height + below)
	set tmargin at screen 1 - 1.0 * y / height
	set bmargin at screen 1 - 1.0 * (y + panel_height) / height
	set lmargin at screen 0.07 + 0.49 * (col - 1)
	set rmargin at screen 0.49 + 0.49 * (col - 1)

	if (row % 2 == 0) {
		set label 1 act_title(a) at graph 0, graph 1.27 font ",14" \
			textcolor rgb "#222222"
		set ylabel col == 1 ? "memory, MiB" : "" font ",11" \
			textcolor rgb "#444444" offset 1
		set xlabel ""
		set yrange [0:mtop[a]]
		if (limit < mtop[a]) {
			set arrow from 0, limit to xmax, limit nohead lw 1.5 dt 2 \
				lc rgb c_limit front
			set label 2 sprintf("memory.max %g", limit) \
				at xmax, limit right offset 0, 0.6 font ",11" \
				textcolor rgb c_limit front
		}
		set label 3 "━ memory.current" at graph 0, graph 1.1 font ",11" \
			textcolor rgb c_current
		set label 4 "━ of it sock" at graph 0.33, graph 1.1 font ",11" \
			textcolor rgb c_sock
		if (provided) {
			set label 5 "■ of it netmem\\_provider" at graph 0.55, \
				graph 1.1 font ",11" textcolor rgb "#8c89c4"
			plot f using 1:11 with filledcurves y1=0 lc rgb c_provider, \
			     f using 1:2 with lines lw 2 lc rgb c_current, \
			     f using 1:4 with lines lw 2 lc rgb c_sock
		}
		if (!provided && is_stock(k)) {
			set label 5 "■ mapped: charged to nobody" at graph 0.55, \
				graph 1.1 font ",11" textcolor rgb "#d98880"
			plot f using 1:5 with filledcurves y1=0 lc rgb c_hole, \
			     f using 1:2 with lines lw 2 lc rgb c_current, \
			     f using 1:4 with lines lw 2 lc rgb c_sock
		}
		if (!provided && !is_stock(k)) {
			set label 5 "■ netmem: mapped" at graph 0.55, \
				graph 1.1 font ",11" textcolor rgb "#4fa58d"
			plot f using 1:3 with filledcurves y1=0 lc rgb c_netmem, \
			     f using 1:2 with lines lw 2 lc rgb c_current, \
			     f using 1:4 with lines lw 2 lc rgb c_sock
		}
	} else {
		set ylabel col == 1 ? (provided ? "provided buffers, MiB" : \
			"pages of the pool, MiB") : "" font ",11" \
			textcolor rgb "#444444" offset 1
		set xlabel "MiB received" font ",11" textcolor rgb "#444444" \
			offset 0, 0.5
		set yrange [0:ptop[a]]
		if (provided) {
			set label 2 "■ idle" at graph 0, graph 1.1 font ",11" \
				textcolor rgb "#8fa0a8"
			set label 3 "■ with the pool or in packets" at graph 0.15, \
				graph 1.1 font ",11" textcolor rgb "#4a8ab8"
			set label 4 "■ held" at graph 0.72, graph 1.1 font ",11" \
				textcolor rgb "#4fa58d"
			plot f using 1:(memory) with filledcurves y1=0 lc rgb c_cached, \
			     f using 1:6 with filledcurves y1=0 lc rgb c_in_use, \
			     f using 1:5 with filledcurves y1=0 lc rgb c_lent
		} else {
			set label 2 "■ cached" at graph 0, graph 1.1 font ",11" \
				textcolor rgb "#8fa0a8"
			set label 3 "■ in use" at graph 0.2, graph 1.1 font ",11" \
				textcolor rgb "#4a8ab8"
		}
		if (!provided && is_stock(k)) {
			set label 4 sprintf("%d pages left it for good", left[2 * k + a - 2]) \
				at graph 0.98, graph 0.9 right font ",11" \
				textcolor rgb c_limit front
			plot f using 1:6 with filledcurves y1=0 lc rgb c_in_use, \
			     f using 1:9 with filledcurves y1=0 lc rgb c_cached
		}
		if (!provided && !is_stock(k)) {
			set label 4 "■ lent" at graph 0.37, graph 1.1 font ",11" \
				textcolor rgb "#4fa58d"
			plot f using 1:6 with filledcurves y1=0 lc rgb c_lent, \
			     f using 1:($7 + $9) with filledcurves y1=0 lc rgb c_in_use, \
			     f using 1:9 with filledcurves y1=0 lc rgb c_cached
		}
	}
}
unset multiplot
