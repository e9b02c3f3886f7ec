# Applets of busybox, each of which says what it did with a small input. Run by busybox's ash, where each is a command.
t=/tmp/applets.$$
mkdir $t && cd $t || exit
say() { printf '%s: ' "$1"; shift; "$@" 2>&1 | tr '\n' '~'; echo; }
bb() { say "$1" busybox "$@"; }
feed() { input=$1; shift; printf '%s: ' "$1"; printf "$input" | busybox "$@" 2>&1 | tr '\n' '~'; echo; }
printf 'pear\napple\nfig\napple\n' > fruit
printf 'one two three\n' > words

echo "# text"
feed 'b\na\nb\n' sort -u
bb uniq -c fruit
bb wc fruit
bb head -n 1 fruit
bb tail -n 1 fruit
bb tac fruit
bb nl fruit
bb cut -d ' ' -f 2 words
bb paste -d : fruit fruit
bb grep -n app fruit
bb egrep 'p{2}' fruit
bb fgrep -c fig fruit
bb sed s/apple/plum/ fruit
bb awk '{ n += length } END { print n }' fruit
bb rev words
feed 'abc' tr a-c A-C
feed 'a b' fold -w 1
feed 'a\tb' expand
feed 'a       b' unexpand -a
feed 'abcabc' cmp - fruit
bb diff fruit words
feed 'abc' hexdump -C
feed 'abc' od -c
feed 'abc' xxd
feed 'abc' base64
feed 'x\ny\n' xargs echo
feed '1d\nw\nq\n' ed fruit
bb cat fruit
bb strings words
feed 'a\r\n' dos2unix
feed '3+4*2\n' bc
feed '3 4 + p\n' dc
bb factor 5040
bb seq 1 3 10
bb expr 6 '*' 7
bb printf '%03d' 7
bb cal 2 2024
feed '1\n2\n3\n' shuf -n 0
feed 'a b\n' tee copy
echo "# sums and archives"
bb crc32 fruit
bb md5sum fruit
bb sha1sum fruit
bb sha256sum fruit
bb sha3sum fruit
bb sha512sum words
bb tar cf a.tar fruit words
bb tar tf a.tar
feed 'fruit\n' cpio -o -H newc --quiet -F a.cpio
bb cpio -t -F a.cpio
for pair in "gzip gunzip gz" "bzip2 bunzip2 bz2" "lzop - lzo"; do
    set -- $pair
    cp fruit packed; bb "$1" packed; ls packed.*; rm -f packed; [ $3 = lzo ] && bb lzop -d packed.$3 || bb "$2" packed.$3
    cmp packed fruit && rm -f packed packed.$3
done
bb uuencode words name
busybox gzip -c fruit > f.gz; bb zcat f.gz
bb ar -t /nonexistent.a
echo "# files"
bb mkdir -p d/e/f
bb touch d/file
bb cp -r d d2
bb mv d2 d3
bb ln -s words link
bb ln words hard
bb readlink link
bb realpath link
bb basename /a/b/c.txt .txt
bb dirname /a/b/c
bb stat -c '%s %F %h %a' words
bb chmod 640 words
bb chown 1:2 words
bb chgrp 3 words
bb stat -c '%u %g %a' words
bb find d -name 'f*' -type f
bb ls d
bb du -s d/file
bb truncate -s 1000 sparse
bb wc -c sparse
bb fallocate -l 4096 full
bb dd if=/dev/zero of=zeros bs=512 count=3
bb wc -c zeros
bb shred -u zeros
bb mkfifo fifo
bb mknod node c 1 3
bb test -p fifo
bb [ -c node ]
bb rm -r d3
bb rmdir --ignore-fail-on-non-empty d
bb unlink hard
printf -- '--- words\n+++ words\n@@ -1 +1 @@\n-one two three\n+four\n' | busybox patch; cat words
bb run-parts --test d
bb sync
echo "# the system"
bb true
bb false; busybox false; echo "false $?"
bb echo words
bb mktemp -u $t/aXXXXXX | sed 's/a......~/aXXXXXX~/; s,/tmp/applets.[0-9]*,T,'
bb ascii | head -c 20 | grep -c Dec
bb pwd | sed "s,$t,T,"
bb id -u
bb whoami
bb groups
bb uname -s -m
bb env -i A=b busybox env
bb timeout 30 busybox echo in time
bb usleep 1000
bb sleep 0.01
PATH=/bin bb which sh
bb getopt ab: -a -b x y
bb chroot / /bin/busybox echo in the root
bb setsid busybox echo in a session
bb taskset 1 busybox sh -c 'exec busybox taskset -p $$' | sed 's/pid [0-9]*/pid/'
bb ionice -c 3 busybox ionice
bb nproc | sed 's/[0-9][0-9]*/N/'
bb ps -o pid,comm | grep -c 'ps: .*busybox'
bb pidof busybox | grep -c '[0-9]'
busybox sleep 1000 & victim=$!
bb renice -n 3 -p $victim
bb kill $victim; wait $victim 2> /dev/null; echo "wait $?"
bb free | grep -c 'Mem:.*Swap:'
bb uptime | grep -c 'load average'
bb df /tmp | grep -c tmpfs
bb mount | grep -c proc
bb stty -F /dev/null
bb tty < /dev/null
bb sysctl kernel.ostype
bb setpriv --nnp busybox echo without new rights
feed 'y\n' sh -c 'read -r answer; echo $answer'
busybox yes | busybox head -n 2
bb time true | grep -c real
bb mkpasswd -m md5 -S abcdefgh secret
bb start-stop-daemon -K -n no-such-program
cd /; rm -r $t
