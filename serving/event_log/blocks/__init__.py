"""Blocks of the event log: one row of the table for at most 64 entries that follow one another.

    first  last  kinds  min_us  max_us   head                                   body
    1      3     1      ...     ...      identifiers, times, digests, hashes,   fields, encrypted fields
                                         history keys, scores, models           and features of arrivals
    4      67    5      ...     ...      + all fields of the outcome in it

A group of entries that is written at once becomes one block, or several if it is large. The writer answers after its blocks
are on disk. The columns of numbers select blocks in SQL. The two blobs hold the columns of the entries, one after the other
(`column_blocks`); of one to three entries they hold rows (`row_blocks`), which cost the writer less.
The head is what a restart and a look-up need, and it has all fields of entries that are not arrivals. The body has the fields
of arrivals (`plain`, `sealed`, `features`). Removal of content replaces both blobs of a block.

What stays as it was: the hash of an entry covers the columns of the entry alone (`serving.event_log.hash_chain`), so blocks
can be divided and joined again, and hashes of earlier logs hold. Each blob begins with a CRC-32, so that any changed byte is
found before it is decoded. The numbers of the row are compared with the entries by the verification.

Small blocks are joined in the background (`compaction`). The sequence numbers of a consignment are found with sorted runs of
digests of identifiers (`serving.event_log.identifiers`), and those of a period with spans of time (`serving.event_log.time_spans`).
"""
