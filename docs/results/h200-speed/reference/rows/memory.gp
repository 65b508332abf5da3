# Draws memory.png and memory.svg from memory.dat. Run in this folder: gnuplot memory.gp
set encoding utf8
set linetype 1 lc rgb '#0072B2' lw 3 pt 5 ps 2.2
set linetype 2 lc rgb '#D55E00' lw 3 pt 9 ps 2.2
set linetype 3 lc rgb '#009E73' lw 3 pt 7 ps 2.2
set linetype 4 lc rgb '#CC79A7' lw 3 pt 13 ps 2.2
set linetype 5 lc rgb '#E69F00' lw 3 pt 11 ps 2.2
set linetype 6 lc rgb '#56B4E9' lw 3 pt 15 ps 2.2
set linetype 7 lc rgb '#000000' lw 3 pt 4 ps 2.2
set linetype 8 lc rgb '#F0E442' lw 3 pt 6 ps 2.2
set linetype 9 lc rgb '#999999' lw 3 pt 10 ps 2.2
set linetype 10 lc rgb '#882255' lw 3 pt 12 ps 2.2
set linetype 11 lc rgb '#332288' lw 3 pt 14 ps 2.2
set linetype 12 lc rgb '#44AA99' lw 3 pt 1 ps 2.2
set linetype 13 lc rgb '#AA4499' lw 3 pt 3 ps 2.2
set linetype 14 lc rgb '#999933' lw 3 pt 8 ps 2.2
set linetype 15 lc rgb '#661100' lw 3 pt 5 ps 2.2
do for [format in 'png svg'] {
if (format eq 'png') { set terminal pngcairo size 1400,900 font 'DejaVu Sans,20' background 'white' }
if (format eq 'svg') { set terminal svg size 1400,900 font 'DejaVu Sans,20' background 'white' }
set output 'memory.'.format
set grid ytics mytics lc rgb '#b0b0b0' lw 1.5 dt 1, lc rgb '#dcdcdc' lw 1 dt 1
set border 3 lw 1.5
set tics nomirror out
set label 1 'Peak device memory' at screen 0.5,0.9622 center font ',24' noenhanced
set label 2 'backend cuda, device NVIDIA H200 (sm_90)' at screen 0.5,0.9200 center font ',18' noenhanced textcolor rgb '#333333'
set xrange [86.4:201.6]
set xlabel 'experts a layer (size of the bank)' offset 0,-1.2
set lmargin 12
set rmargin 4
set bmargin 6
set tmargin at screen 0.7836
set key at screen 0.5,0.8493 center center horizontal Left reverse noenhanced samplen 3 width 0 maxcols 3
set xtics ("192\n24.0 GiB" 192, "144\n18.0 GiB" 144, "96\n12.0 GiB" 96)
set ylabel 'peak device memory (GiB)'
top = 27.6084229
set yrange [0:top]
plot 'memory.dat' index 0 using 1:2 with linespoints lt 1 title 'baseline', \
     'memory.dat' index 1 using 1:2 with linespoints lt 3 title 'ufm', \
     16 with lines dt 2 lw 3 lc rgb '#555555' title 'target of ufm', \
     23.51 with lines dt 4 lw 3 lc rgb '#000000' title 'card limit', \
     'memory.dat' index 2 using 1:2:(3*0.75**$4):3 with points pt 2 ps variable lw 5 lc variable notitle, \
     NaN with points pt 2 ps 2.5 lw 5 lc rgb '#777777' title 'out of memory'
unset output
}
