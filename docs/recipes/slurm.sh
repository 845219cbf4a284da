#!/bin/bash
# A whole run as jobs of Slurm: bash slurm.sh CORPUS RUN [JOBS]
# Every stage whose work can be cut is an array of JOBS jobs of one core, followed by one job that joins what they did.
set -euo pipefail
corpus=$1 run=$2 jobs=${3:-64}
export TF_NUM_INTRAOP_THREADS=1 OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=-1

after=""
submit() { # NAME OPTIONS... -- COMMAND: queue it behind the job before it
  local name=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  after=$(sbatch --parsable --job-name="$name" --output="slurm-%x-%A-%a.log" ${after:+--dependency=afterok:$after} \
    "${options[@]}" --wrap "$*")
}
in_shares() { # STAGE WORDS...: an array of jobs, then one that joins
  submit "$1" --array="1-$jobs" --cpus-per-task=1 --mem=2G -- cepscope -q "$@" --shard "\$SLURM_ARRAY_TASK_ID/$jobs"
  submit "$1-join" --cpus-per-task=1 --mem=4G -- cepscope -q "$@" --workers 1
}

in_shares extract "$corpus" --out "$run"
submit train --cpus-per-task=1 --mem=4G -- cepscope -q train "$run"
in_shares maximize "$run"
in_shares invert "$run"
in_shares probe "$run"
submit report -- cepscope -q report "$run"
echo "The last of the jobs is $after; the page will be $run/report/index.html"
