"""Index of the entries of each consignment: sorted runs of (digest of the identifier, sequence number).

    run 3    entries 1 to 524,288          pages 0 to 2,047, about 256 entries of 12 bytes in each
    run 9    entries 524,289 to 589,824    pages 0 to 255
    memory   entries 589,825 to 601,003    not in a run yet

The first bits of a digest are the number of its page, so a look-up reads one page of each run. A thread writes the newest
entries as a run, and joins runs of one size, without delaying the writer (`serving.event_log.upkeep`). Runs hold nothing that
the blocks do not hold: a run that is missing or damaged is made again from them, and until then its range is searched.
"""
