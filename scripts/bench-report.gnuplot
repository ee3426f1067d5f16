# SPDX-License-Identifier: GPL-2.0
#
# The picture of scripts/bench. Wants csv and out. One bar for each figure: the
# patched kernel's as a part of the stock kernel's.

set terminal svg size 1000, 760 font "sans-serif,13" background "white"
set output out
set datafile separator ","

unset key
set border 3 lc rgb "#888888"
set tics nomirror out scale 0.5 textcolor rgb "#444444"
set xtics font ",11"
set ytics font ",11"
set grid xtics lt 1 lw 0.5 lc rgb "#e4e4e4"
set style fill solid noborder
set lmargin 30
set xrange [0:1.4]
set title "patched kernel: instructions, stock = 1" left
set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb "#1b4f72" lw 1.5 front

# Shorter is better, but for pages per second, which are left out.
wanted(name) = strstrt(name, "/receive") || strstrt(name, "page_pool0") || \
	strstrt(name, "_munmap") || strstrt(name, "file_read") || \
	strstrt(name, "pipe") || strstrt(name, "fork") || strstrt(name, "held_dma")
row(name) = wanted(name) ? (n = n + 1, -n) : NaN

n = 0
plot csv every ::1 using (wanted(strcol(1)) ? $5 / 2 : NaN):(row(strcol(1))): \
	($5 / 2):(0.35):ytic(wanted(strcol(1)) ? strcol(1) : "") \
	with boxxyerror lc rgb "#8fcfbd"
