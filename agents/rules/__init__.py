"""The rules: the candidate with the best score, under thresholds that anyone can read (rules.yaml)."""
