"""From a dataset file to items.

prepare          the items, their images stored, all checked first
drafts           what a record says: fields, language, image
public_formats   the records of GEdit, ImgEdit, KRIS, RISE and UniREdit
files            records out of JSONL, CSV, Parquet, Arrow or one long JSON list
records          a record's fields, checked one by one
given_edits      edits that were made elsewhere, in a folder
item_ids         names that are unique, stable and safe as file names
"""
