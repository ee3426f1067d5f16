# SPDX-License-Identifier: GPL-2.0
#
# The picture of scripts/bench. Wants csv and out. One bar for each figure that is
# held against the stock kernel's: the patched kernel's, as a part of it.

set terminal svg size 1000, 620 font "sans-serif,13" background "white" noenhanced
set output out
set datafile separator ","

unset key
set tmargin 3
set border 3 lc rgb "#888888"
set tics nomirror out scale 0.5 textcolor rgb "#444444"
set grid xtics lt 1 lw 0.5 lc rgb "#e4e4e4"
set style fill solid noborder
set boxwidth 0.7
set xrange [0:1.2]
set label "instructions of the patched kernel, stock = 1" at graph 0, 1.04
set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb "#1b4f72" lw 1.5 front

figures = "page_pool01 page_pool02 page_pool03 held_dma mapped_64/receive \
held_1_mib/receive held_4_mib/receive held_16_mib/receive held_64_mib/receive \
held_256_mib/receive munmap_lent udp_receive/receive tcp_receive/receive \
udp_loopback/whole tcp_loopback/whole anon_fault_munmap file_read \
pipe_write_read fork_exit"
n = words(figures)
row(name) = (sum [i = 1:n] (word(figures, i) eq name ? i : 0))
set yrange [n + 1:0]
set ytics ()
do for [i = 1:n] {
	set ytics add (word(figures, i) i)
}
plot csv every ::1 using (row(strcol(1)) > 0 ? $5 / 2 : NaN):(row(strcol(1))): \
	($5 / 2):(0.35) with boxxyerror lc rgb "#8fcfbd", \
	"" every ::1 using (row(strcol(1)) > 0 ? $5 : NaN):(row(strcol(1))): \
	(sprintf("%.2f", $5)) with labels left offset 0.5, 0 textcolor rgb "#444444"
