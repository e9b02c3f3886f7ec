# What scripts for bash are made of, each line of output from another part of the language.
set -u
declare -A ages=([ada]=36 [bob]=41)
ages[eve]=29
for name in $(printf '%s\n' "${!ages[@]}" | sort); do printf '%s=%d ' "$name" "${ages[$name]}"; done; echo
numbers=(1 2 3 4 5)
echo "${numbers[@]:1:3} ${#numbers[@]} ${numbers[-1]}"
mapfile -t lines < <(printf 'one\ntwo\nthree\n')
echo "${lines[1]} ${#lines[@]}"
fibonacci() { local n=$1; ((n < 2)) && { echo "$n"; return; }; echo $(($(fibonacci $((n - 1))) + $(fibonacci $((n - 2))))); }
fibonacci 10
text="The quick brown fox"
echo "${text,,}|${text^^}|${text/quick/slow}|${text#* }|${text%% *}|${text:4:5}"
[[ $text =~ ([a-z]+)\ (fox) ]] && echo "${BASH_REMATCH[1]}-${BASH_REMATCH[2]}"
shopt -s extglob
case "file.tar.gz" in *.+(tar|zip).@(gz|xz)) echo archive ;; *) echo other ;; esac
false | true | (exit 3); echo "${PIPESTATUS[@]}"
cat <<END | tr a-z A-Z
here $((6 * 7)) documents
END
comm -3 <(printf 'a\nb\n') <(printf 'a\nc\n')
coproc WORKER { while read -r line; do echo "got $line"; done; }
worker=$WORKER_PID
echo hello >&"${WORKER[1]}"
read -r answer <&"${WORKER[0]}"
echo "$answer"
eval "exec ${WORKER[1]}>&-"
wait "$worker"; echo "worker $?"
(trap 'echo "leaving with $?"' EXIT; exit 7); echo "subshell $?"
trap 'echo "got USR1"' USR1; kill -USR1 $$; trap - USR1
while getopts 'ab:' option -a -b value; do echo "option $option ${OPTARG-}"; done
sleep 1000 & victim=$!
kill -TERM $victim; wait $victim; echo "killed $?"
for delay in 3 5; do (exit $delay) & done
wait -n; first=$?; wait -n; second=$?; echo "children $((first + second))"
exec 5<> /tmp/language.$$; echo "through a descriptor" >&5; exec 5>&-
cat /tmp/language.$$; rm /tmp/language.$$
read -r -t 0.05 nothing < <(exec sleep 1000); echo "timed out $(($? > 128))"; kill $!
printf '%05.2f|%-6s|%x|%q\n' 3.14159 left 255 "two words"
select_one() { local PS3='? '; select one in alpha beta; do echo "chose $one"; break; done; }
select_one <<< 2 2> /dev/null
(ulimit -n 20; ulimit -n)
(umask 027; umask -S)
echo {a..e}{1,2} | wc -w
ln -s nowhere /tmp/dangling.$$; [[ -L /tmp/dangling.$$ && ! -e /tmp/dangling.$$ ]] && echo dangling; rm /tmp/dangling.$$
bash -c 'echo "$0 $1"; exec sh -c "exit 9"' name argument; echo "exec $?"
no-such-program 2> /dev/null; echo "not found $?"
(echo 'echo "a script as $#"' > /tmp/script.$$; chmod +x /tmp/script.$$; /tmp/script.$$ x y; rm /tmp/script.$$)
