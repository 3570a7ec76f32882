@echo -off
# The firmware's shell starts this script from the disk that the host has put in, which takes the answers: what volumes
# there are, what each one holds, and copies of it. A file of no use to anybody else tells which disk that is.
connect -r
map -r
for %i run (0 8)
  if exist fs%i:\qemu-viso.scratch then
    set -v scratch fs%i
  endif
endfor
map > %scratch%:\map.txt
for %i run (0 8)
  if exist fs%i:\ then
    if not exist fs%i:\qemu-viso.scratch then
      ls -r -sfo fs%i:\ > %scratch%:\ls%i.txt
      mkdir %scratch%:\copy%i
      cp -r -q fs%i:\* %scratch%:\copy%i > %scratch%:\cp%i.txt
    endif
  endif
endfor
echo end > %scratch%:\end.txt
reset -s
