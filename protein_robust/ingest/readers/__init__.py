"""From files to blocks of rows: Stockholm, FASTA, tables, clan files, and the synthetic example."""
