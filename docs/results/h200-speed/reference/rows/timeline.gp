# Draws timeline.png and timeline.svg from timeline.dat. Run in this folder: gnuplot timeline.gp
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
if (format eq 'png') { set terminal pngcairo size 1400,920 font 'DejaVu Sans,20' background 'white' }
if (format eq 'svg') { set terminal svg size 1400,920 font 'DejaVu Sans,20' background 'white' }
set output 'timeline.'.format
set grid ytics mytics lc rgb '#b0b0b0' lw 1.5 dt 1, lc rgb '#dcdcdc' lw 1 dt 1
set border 3 lw 1.5
set tics nomirror out
set label 1 'Memory over time' at screen 0.5,0.9630 center font ',24' noenhanced
set label 2 'backend cuda, device NVIDIA H200 (sm_90)' at screen 0.5,0.9217 center font ',18' noenhanced textcolor rgb '#333333'
set multiplot layout 2,1 margins 0.13,0.79,0.1250,0.8424 spacing 0,0.1304
set ylabel 'GiB'
set yrange [0:25.384206]
unset key
set arrow from screen 0.812,0.8272 to screen 0.852,0.8272 nohead dt 1 lw 3 lc rgb '#0d0887'
set label '96 experts' at screen 0.862,0.8272 left noenhanced
set arrow from screen 0.812,0.7913 to screen 0.852,0.7913 nohead dt 1 lw 3 lc rgb '#cc4778'
set label '144 experts' at screen 0.862,0.7913 left noenhanced
set arrow from screen 0.812,0.7554 to screen 0.852,0.7554 nohead dt 1 lw 3 lc rgb '#f0a020'
set label '192 experts' at screen 0.862,0.7554 left noenhanced
set arrow from screen 0.812,0.7196 to screen 0.852,0.7196 nohead dt 1 lw 3 lc rgb '#777777'
set label 'device' at screen 0.862,0.7196 left noenhanced
set arrow from screen 0.812,0.6837 to screen 0.852,0.6837 nohead dt 3 lw 3 lc rgb '#777777'
set label 'process' at screen 0.862,0.6837 left noenhanced
set arrow from screen 0.812,0.6478 to screen 0.852,0.6478 nohead dt 2 lw 3 lc rgb '#555555'
set label 'target of ufm' at screen 0.862,0.6478 left noenhanced
set title 'baseline; out of memory: 192 experts' noenhanced offset 0,-0.5
set xrange [0:2.919]
plot -1 notitle, \
     'timeline.dat' index 0 using 1:2 with lines dt 1 lw 3 lc rgb '#0d0887' notitle, \
     '' index 0 using 1:3 with lines dt 3 lw 3 lc rgb '#0d0887' notitle, \
     'timeline.dat' index 1 using 1:2 with lines dt 1 lw 3 lc rgb '#cc4778' notitle, \
     '' index 1 using 1:3 with lines dt 3 lw 3 lc rgb '#cc4778' notitle, \
     'timeline.dat' index 2 using 1:2 with lines dt 1 lw 3 lc rgb '#f0a020' notitle, \
     '' index 2 using 1:3 with lines dt 3 lw 3 lc rgb '#f0a020' notitle
unset label
unset arrow
set title 'ufm' noenhanced offset 0,-0.5
set xlabel 'time since the run began (s)'
set xrange [0:3.865]
plot -1 notitle, \
     'timeline.dat' index 3 using 1:2 with lines dt 1 lw 3 lc rgb '#0d0887' notitle, \
     '' index 3 using 1:3 with lines dt 3 lw 3 lc rgb '#0d0887' notitle, \
     'timeline.dat' index 4 using 1:2 with lines dt 1 lw 3 lc rgb '#cc4778' notitle, \
     '' index 4 using 1:3 with lines dt 3 lw 3 lc rgb '#cc4778' notitle, \
     'timeline.dat' index 5 using 1:2 with lines dt 1 lw 3 lc rgb '#f0a020' notitle, \
     '' index 5 using 1:3 with lines dt 3 lw 3 lc rgb '#f0a020' notitle, \
     16 with lines dt 2 lw 3 lc rgb '#555555' notitle
unset multiplot
unset output
}
