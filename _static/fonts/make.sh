#!/bin/sh
# The book's fonts from Adobe's own, which are under the SIL Open Font License (OFL.txt): Latin, Greek and the signs of
# formulas in text, weights from regular to bold, one optical size. The license keeps the name of the originals for the
# originals, so that these have none: pages call them "Companion Serif", "Companion Sans" and "Companion Code".
#
# Run in an empty folder:  npm pack source-serif@4.5.1 source-sans@3.52.0 source-code-pro@2.42.0
#                          pip install fonttools==4.68.0 brotli==1.2.1
#                          sh make.sh
set -e
SIGNS="U+0020-007E,U+00A0-017F,U+0192,U+0218-021B,U+02C6-02DD,U+0300-030C,U+0327,U+0328,U+0370-03FF,U+1E9E"
SIGNS="$SIGNS,U+2000-206F,U+2070-209F,U+20AC,U+2100-214F,U+2190-21FF,U+2200-22FF,U+2460-2473,U+2500-25FF"
SIGNS="$SIGNS,U+2605-2612,U+2713-2717,U+FB01,U+FB02,U+FFFD"

font() {  # package, file in it, name here, axes
    tar xzf "$1".tgz "package/$2"
    shift
    fonttools varLib.instancer -q --no-recalc-timestamp "package/$1" $3 -o "$2.ttf"
    pyftsubset "$2.ttf" --unicodes="$SIGNS" --layout-features+=tnum,lnum --obfuscate-names --name-IDs=0,13,14 \
        --flavor=woff2 --output-file="$2.woff2"
    rm -r package "$2.ttf"
}

font source-serif-4.5.1 VAR/SourceSerif4Variable-Roman.ttf serif "opsz=16 wght=400:700"
font source-serif-4.5.1 VAR/SourceSerif4Variable-Italic.ttf serif-italic "opsz=16 wght=400:700"
font source-sans-3.52.0 VF/SourceSans3VF-Upright.ttf sans wght=400:700
font source-code-pro-2.42.0 VF/SourceCodeVF-Upright.ttf code wght=400:700
